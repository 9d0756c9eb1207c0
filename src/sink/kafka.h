/* SPDX-License-Identifier: Apache-2.0 */
/* Rows as records of Kafka topics, exactly once where the broker has
 * transactions.
 *
 * One transaction holds the rows of an epoch and the memory of it: an offset of
 * the group "tidemark.<checkpoint id>.<sink>" on partition 0 of an output topic,
 * whose metadata says the epoch. So a reader that is read_committed sees the
 * rows once or not at all, and after a crash the sink knows which.
 *
 * What the end of a transaction was is only believed if nothing disturbed it: an
 * EndTxn that was lost or late may be answered by librdkafka's second try and
 * decide the next transaction (KAFKA-17754). After any disturbance the producer
 * is thrown away, a new one fences what is left of the old, and the memory says
 * what came of it.
 *
 * Options: topic, or rows with a column "@topic"; key, timestamp (columns);
 * value = "json" with columns = "a,b", or value = "column" with value_column;
 * header.NN = "column:name"; exactly_once; brokers. */
#ifndef TIDE_SINK_KAFKA_H
#define TIDE_SINK_KAFKA_H

#include "sink/sink.h"

extern const struct tide_sink_ops tide_kafka_sink_ops;

#endif
