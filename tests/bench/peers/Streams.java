// SPDX-License-Identifier: Apache-2.0
// The three jobs of the bench on Kafka Streams, exactly once.
//
//   Streams words|readings|articles BROKERS TOPIC RECORDS DIR [ROWS]
//
// Stops when so many records of the topic are processed and prints one line of JSON about
// itself; rows go to ROWS. Words and articles are read from the stores once the time is
// taken; the rows of readings are written as they come. Its own topics are removed.

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.BufferedOutputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.LongAdder;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.AppInfoParser;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.EmitStrategy;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.QueryableStoreTypes;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.WindowStore;

public class Streams {
	static final long STALLED_MS = 300_000;
	static final JsonFactory JSON = new JsonFactory();
	static final DateTimeFormatter ISO =
		DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss.SSS'Z'").withZone(ZoneOffset.UTC);

	// What has been taken from the topic, sent on to be counted, and counted.
	static final AtomicLong taken = new AtomicLong(), firstMs = new AtomicLong();
	static final LongAdder sent = new LongAdder(), counted = new LongAdder();
	static PrintStream rows;

	static void take() {
		if (taken.getAndIncrement() == 0)
			firstMs.set(System.currentTimeMillis());
	}

	// Words -----------------------------------------------------------------------

	static class Tokens implements Processor<byte[], byte[], String, byte[]> {
		static final byte[] NOTHING = {};
		private ProcessorContext<String, byte[]> context;
		private Record<byte[], byte[]> record;

		public void init(ProcessorContext<String, byte[]> context) {
			this.context = context;
		}

		public void process(Record<byte[], byte[]> record) {
			this.record = record;
			take();
			if (record.key() == null || record.key().length == 0)
				send("stats,no-key");
			if (record.value() == null || record.value().length == 0)
				send("stats,no-value");
			split("key,", record.key());
			split("value,", record.value());
			boolean any = false;
			for (Header header : record.headers()) {
				any = true;
				split("header,", header.key().getBytes());
				split("header,", header.value());
			}
			if (!any)
				send("stats,no-header");
		}

		private void split(String field, byte[] text) {
			StringBuilder word = new StringBuilder(field);
			for (int i = 0; text != null && i <= text.length; i++) {
				int c = i < text.length ? text[i] : ' ';
				if (c >= 'A' && c <= 'Z')
					c += 'a' - 'A';
				if (c >= 'a' && c <= 'z' || c >= '0' && c <= '9') {
					word.append((char) c);
				} else if (word.length() > field.length()) {
					send(word.toString());
					word.setLength(field.length());
				}
			}
		}

		private void send(String token) {
			sent.increment();
			context.forward(new Record<>(token, NOTHING, record.timestamp()));
		}
	}

	static void words(StreamsBuilder builder, String topic) {
		builder.stream(topic, Consumed.with(Serdes.ByteArray(), Serdes.ByteArray()))
			.process(Tokens::new)
			.groupByKey(Grouped.with("words", Serdes.String(), Serdes.ByteArray()))
			.aggregate(() -> 0L, (token, nothing, count) -> {
				counted.increment();
				return count + 1;
			}, Materialized.<String, Long, KeyValueStore<Bytes, byte[]>>as("counts")
				.withKeySerde(Serdes.String()).withValueSerde(Serdes.Long()));
	}

	// Readings --------------------------------------------------------------------

	static class Event {
		String id;
		long ms;
		double value;

		static Event of(String topic, byte[] bytes) {
			Event event = new Event();
			try (JsonParser json = JSON.createParser(bytes)) {
				json.nextToken();
				for (String name; (name = json.nextFieldName()) != null;) {
					JsonToken token = json.nextToken();
					switch (name) {
					case "id" -> event.id = json.getText();
					case "ts", "published_at" -> event.ms = Instant.parse(json.getText()).toEpochMilli();
					case "value" -> event.value = json.getDoubleValue();
					default -> { }
					}
				}
			} catch (IOException e) {
				throw new UncheckedIOException(e);
			}
			return event;
		}
	}

	static final Serde<Event> EVENT = Serdes.serdeFrom((topic, event) -> {
		throw new IllegalStateException("events are only read");
	}, Event::of);

	record Sum(double sum, long count) {
		byte[] bytes() {
			return ByteBuffer.allocate(16).putDouble(sum).putLong(count).array();
		}

		static Sum of(byte[] bytes) {
			ByteBuffer buffer = ByteBuffer.wrap(bytes);
			return new Sum(buffer.getDouble(), buffer.getLong());
		}
	}

	static final Serde<Sum> SUM = Serdes.serdeFrom(
		(topic, sum) -> sum == null ? null : sum.bytes(),
		(topic, bytes) -> bytes == null ? null : Sum.of(bytes));

	static Consumed<String, Event> events() {
		return Consumed.with(Serdes.String(), EVENT)
			.withTimestampExtractor((record, previous) -> ((Event) record.value()).ms);
	}

	static void readings(StreamsBuilder builder, String topic) {
		builder.stream(topic, events())
			.peek((id, event) -> take())
			.groupByKey(Grouped.with(Serdes.String(), EVENT))
			.windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofSeconds(10), Duration.ofSeconds(30)))
			.emitStrategy(EmitStrategy.onWindowClose())
			.aggregate(() -> new Sum(0, 0),
				(id, event, sum) -> new Sum(sum.sum + event.value, sum.count + 1),
				Materialized.<String, Sum, WindowStore<Bytes, byte[]>>as("averages")
					.withKeySerde(Serdes.String()).withValueSerde(SUM).withCachingDisabled())
			.toStream()
			.foreach(Streams::window);
	}

	static void window(Windowed<String> key, Sum sum) {
		counted.increment();
		if (rows != null)
			rows.println(ISO.format(key.window().startTime()) + "," +
				ISO.format(key.window().endTime()) + "," + key.key() + "," +
				sum.sum / sum.count + "," + sum.count);
	}

	// Articles --------------------------------------------------------------------

	// What has been seen is forgotten two hours later, looked for once an hour. How
	// many there were is kept by partition, which spares the job a topic.
	static class Once implements Processor<String, Event, Void, Void> {
		static final long WITHIN_MS = Duration.ofHours(2).toMillis();
		private KeyValueStore<String, Long> seen;
		private KeyValueStore<Integer, Long> unique;
		private int partition;

		public void init(ProcessorContext<Void, Void> context) {
			seen = context.getStateStore("seen");
			unique = context.getStateStore("unique");
			partition = context.taskId().partition();
			context.schedule(Duration.ofHours(1), PunctuationType.STREAM_TIME, this::forget);
		}

		public void process(Record<String, Event> record) {
			Event event = record.value();
			take();
			if (seen.putIfAbsent(event.id, event.ms) != null)
				return;
			Long count = unique.get(partition);
			unique.put(partition, count == null ? 1 : count + 1);
		}

		private void forget(long now) {
			try (KeyValueIterator<String, Long> all = seen.all()) {
				all.forEachRemaining(each -> {
					if (each.value < now - WITHIN_MS)
						seen.delete(each.key);
				});
			}
		}
	}

	static void articles(StreamsBuilder builder, String topic) {
		builder.addStateStore(Stores.keyValueStoreBuilder(
			Stores.persistentKeyValueStore("seen"), Serdes.String(), Serdes.Long()));
		builder.addStateStore(Stores.keyValueStoreBuilder(
			Stores.persistentKeyValueStore("unique"), Serdes.Integer(), Serdes.Long())
			.withCachingEnabled());
		builder.stream(topic, events()).process(Once::new, "seen", "unique");
	}

	// The whole -------------------------------------------------------------------

	static Properties settings(String application, String brokers, String folder) {
		Properties settings = new Properties();
		settings.put("application.id", application);
		settings.put("bootstrap.servers", brokers);
		settings.put("state.dir", folder);
		settings.put("auto.offset.reset", "earliest");
		settings.put("processing.guarantee", "exactly_once_v2");
		settings.put("num.stream.threads", 2);
		settings.put("topology.optimization", "all");
		settings.put("commit.interval.ms", 1000);
		settings.put("statestore.cache.max.bytes", 64 << 20);
		settings.put("producer.batch.size", 256 << 10);
		settings.put("producer.transaction.timeout.ms", 120_000);
		// Windows come when they close: once a second would leave some at the end.
		settings.put("__emit.interval.ms.kstreams.windowed.aggregation__", 0L);
		return settings;
	}

	// Until all of it is processed.
	static void await(KafkaStreams streams, String job, long records) throws Exception {
		long before = -1, since = System.currentTimeMillis();
		while (taken.get() < records || job.equals("words") && counted.sum() < sent.sum()) {
			long now = System.currentTimeMillis(), at = taken.get() + counted.sum();
			if (streams.state() == KafkaStreams.State.ERROR || at == before && now - since > STALLED_MS) {
				System.err.println("Streams: stopped after " + taken + " records, " + streams.state());
				System.exit(1);
			}
			since = at == before ? since : now;
			before = at;
			Thread.sleep(5);
		}
	}

	static <K> void dump(KafkaStreams streams, String store, boolean keys) {
		long sum = 0;
		var type = QueryableStoreTypes.<K, Long>keyValueStore();
		try (var all = streams.store(StoreQueryParameters.fromNameAndType(store, type)).all()) {
			while (all.hasNext()) {
				var each = all.next();
				sum += each.value;
				if (keys)
					rows.println(each.key + "," + each.value);
			}
		}
		if (!keys)
			rows.println(sum);
	}

	static void remove(String application, String brokers) throws Exception {
		try (Admin admin = Admin.create(Map.of("bootstrap.servers", brokers))) {
			admin.deleteTopics(admin.listTopics().names().get().stream()
				.filter(name -> name.startsWith(application + "-")).toList()).all().get();
		}
	}

	public static void main(String[] args) throws Exception {
		String job = args[0], brokers = args[1], topic = args[2];
		long records = Long.parseLong(args[3]);
		String application = "bench-" + job + "-" + ProcessHandle.current().pid();
		StreamsBuilder builder = new StreamsBuilder();
		switch (job) {
		case "words" -> words(builder, topic);
		case "readings" -> readings(builder, topic);
		default -> articles(builder, topic);
		}
		if (args.length > 5)
			rows = new PrintStream(new BufferedOutputStream(new FileOutputStream(args[5])));
		Properties settings = settings(application, brokers, args[4]);
		KafkaStreams streams = new KafkaStreams(builder.build(settings), settings);
		streams.start();
		await(streams, job, records);
		long lastMs = System.currentTimeMillis();
		if (rows != null && job.equals("words"))
			Streams.<String>dump(streams, "counts", true);
		if (rows != null && job.equals("articles"))
			Streams.<Integer>dump(streams, "unique", false);
		streams.close(Duration.ofMinutes(5));
		if (rows != null)
			rows.close();
		remove(application, brokers);
		System.out.printf("{\"version\":\"%s\",\"first_ms\":%d,\"last_ms\":%d,\"records\":%d}%n",
			AppInfoParser.getVersion(), firstMs.get(), lastMs, taken.get());
	}
}
