/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded broker: one mock cluster of one broker. */
#include "broker/broker.h"

#include <assert.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

struct tide_broker {
	rd_kafka_t *rk; /* the cluster lives in its threads */
	rd_kafka_mock_cluster_t *cluster;
	char address[64];
};

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
	(void)rk;
	(void)level;
	tide_log(TIDE_DEBUG, "embedded broker: %s: %s", facility, text);
}

int tide_broker_start(struct tide_broker **out, struct tide_error *err)
{
	assert(out != NULL);
	char why[256] = "";
	struct tide_broker *broker = calloc(1, sizeof *broker);
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	int rc = TIDE_OK;
	if (broker == NULL) {
		rc = tide_fail(err, TIDE_ERR_NOMEM, "the embedded broker");
		goto out;
	}
	rd_kafka_conf_set(conf, "client.id", "tidemark-broker", NULL, 0);
	rd_kafka_conf_set_log_cb(conf, on_log);
	broker->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
	if (broker->rk == NULL) {
		rc = tide_fail(err, TIDE_ERR_UNAVAILABLE, "the embedded broker: %s", why);
		goto out;
	}
	conf = NULL; /* Ownership moved to librdkafka. */
	broker->cluster = rd_kafka_mock_cluster_new(broker->rk, 1);
	if (broker->cluster == NULL) {
		rc = tide_fail(err, TIDE_ERR_UNAVAILABLE,
		               "the embedded broker could not listen on 127.0.0.1");
		goto out;
	}
	snprintf(broker->address, sizeof broker->address, "%s",
	         rd_kafka_mock_cluster_bootstraps(broker->cluster));
	tide_log(TIDE_INFO,
	         "embedded broker at %s: in memory, keeps the newest 5 MB a partition "
	         "and drops what is older; a demo, not a store",
	         broker->address);
	*out = broker;
	broker = NULL;
out:
	if (conf != NULL)
		rd_kafka_conf_destroy(conf);
	tide_broker_stop(broker);
	return rc;
}

int tide_broker_topic(struct tide_broker *broker, const char *topic, int partitions,
                      struct tide_error *err)
{
	assert(broker != NULL && topic != NULL && partitions > 0);
	rd_kafka_resp_err_t code =
		rd_kafka_mock_topic_create(broker->cluster, topic, partitions, 1);
	if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
		return tide_fail(err, TIDE_ERR_USAGE, "embedded broker: topic %s: %s", topic,
		                 rd_kafka_err2str(code));
	return TIDE_OK;
}

const char *tide_broker_address(const struct tide_broker *broker)
{
	return broker->address;
}

void tide_broker_stop(struct tide_broker *broker)
{
	if (broker == NULL)
		return;
	if (broker->cluster != NULL)
		rd_kafka_mock_cluster_destroy(broker->cluster);
	if (broker->rk != NULL)
		rd_kafka_destroy(broker->rk);
	free(broker);
}
