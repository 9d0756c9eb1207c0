# SPDX-License-Identifier: Apache-2.0
# The three jobs of the bench on Spark, in Catalyst's expressions only: no Python runs
# per record.
#
#   spark.py words|readings|articles run BROKERS TOPIC DIR     rows go nowhere
#   spark.py words|readings|articles rows BROKERS TOPIC DIR    its rows, to DIR/rows
#
# `run` prints one line of JSON about itself. `rows` reads the state that a run has left
# in DIR, but for readings, whose rows are gone: they are made once more.
import datetime
import json
import sys
import time

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

job, what, brokers, topic, folder = sys.argv[1:]
SETTINGS = {
    "spark.master": "local[2]",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "2",
    # Else no state can be read where no query runs.
    "spark.sql.streaming.stateStore.coordinatorReportSnapshotUploadLag": "false",
}
OFFSETS_PER_TRIGGER = 500_000
builder = SparkSession.builder.appName("bench")
for key, value in SETTINGS.items():
    builder = builder.config(key, value)
spark = builder.getOrCreate()
spark.sparkContext.setLogLevel("ERROR")


def source():
    return (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", brokers)
        .option("subscribe", topic)
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", OFFSETS_PER_TRIGGER)
        .option("includeHeaders", job == "words")
        .load()
    )


def tokens(field, text):
    split = F.split(F.lower(text), "[^a-z0-9]+")
    return F.transform(split, lambda word: F.struct(F.lit(field).alias("field"), word.alias("word")))


def stats(column, word):
    blank = column.isNull() | (F.length(column) == 0)
    one = F.array(F.struct(F.lit("stats").alias("field"), F.lit(word).alias("word")))
    return F.when(blank, one)


def words():
    header = F.transform(
        "headers", lambda h: F.concat_ws(" ", h["key"], h["value"].cast("string")))
    parts = [
        stats(F.col("key"), "no-key"),
        stats(F.col("value"), "no-value"),
        F.when(F.col("headers").isNull(), stats(F.lit(None).cast("string"), "no-header")),
        tokens("key", F.col("key").cast("string")),
        tokens("value", F.col("value").cast("string")),
        tokens("header", F.array_join(header, " ")),
    ]
    # Only what is there: concat of a null is null.
    every = F.flatten(F.filter(F.array(*parts), lambda part: part.isNotNull()))
    token = source().select(F.explode(every).alias("token")).select("token.*")
    return token.where("word != ''").groupBy("field", "word").count(), "update"


def fields(schema):
    text = F.col("value").cast("string")
    return source().select(F.from_json(text, schema).alias("it")).select("it.*")


def readings():
    reading = fields("id INT, ts TIMESTAMP, value DOUBLE").withWatermark("ts", "30 seconds")
    window = reading.groupBy(F.window("ts", "10 seconds"), "id")
    return window.agg(F.avg("value").alias("avg_value"), F.count("*").alias("n")), "append"


def articles():
    article = fields("id STRING, published_at TIMESTAMP")
    article = article.withWatermark("published_at", "2 hours")
    return article.dropDuplicatesWithinWatermark(["id"]).groupBy().count(), "update"


def write(sink):
    frame, mode = {"words": words, "readings": readings, "articles": articles}[job]()
    started = sink(frame.writeStream.outputMode(mode))
    query = (
        started.option("checkpointLocation", folder + "/checkpoint")
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    return query


def milliseconds(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000


def run():
    epochs = write(lambda s: s.format("noop")).recentProgress
    last = epochs[-1]
    print(json.dumps({
        "version": spark.version,
        "first_ms": milliseconds(epochs[0]["timestamp"]),
        "last_ms": milliseconds(last["timestamp"]) + last["durationMs"]["triggerExecution"],
        "records": sum(e["numInputRows"] for e in epochs),
    }))


def state(operator):
    return (
        spark.read.format("statestore")
        .option("operatorId", operator)
        .load(folder + "/checkpoint")
    )


def save(frame):
    frame.write.mode("overwrite").csv(folder + "/rows")


def window_rows(frame, _):
    pattern = "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'"
    frame.select(
        F.date_format("window.start", pattern), F.date_format("window.end", pattern),
        "id", "avg_value", "n",
    ).write.mode("append").csv(folder + "/rows")


if what == "run":
    run()
elif job == "words":
    save(state(0).select("key.field", "key.word", "value.count"))
elif job == "articles":
    save(state(0).select("value.count"))
else:
    write(lambda s: s.foreachBatch(window_rows))
spark.stop()
