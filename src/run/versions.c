/* SPDX-License-Identifier: Apache-2.0 */
/* Which Tidemark this is, and which libraries it runs on. */
#include "run/versions.h"

#include "checkpoint/checkpoint.h"
#include "job/vm.h"
#include "source/kafka.h"
#include "state/rocks.h"

/* What this version was tested against; `make test` is the proof. */
#define TESTED_KAFKA "3.9.1"

void tide_versions(bool json, struct tide_buf *out)
{
	tide_buf_printf(out,
	                json ? "{\"tidemark\":\"%s\",\"librdkafka\":\"%s\",\"rocksdb\":\"%s\","
	                       "\"luajit\":\"%s\",\"checkpointFormat\":%d,"
	                       "\"testedKafka\":\"%s\"}\n"
	                     : "tidemark %s\n  librdkafka  %s\n  rocksdb     %s\n"
	                       "  luajit      %s\n  checkpoint  format %d\n"
	                       "  tested with Apache Kafka %s\n",
	                TIDE_VERSION, tide_kafka_version(), tide_rocks_version(), tide_vm_version(),
	                TIDE_CHECKPOINT_FORMAT, TESTED_KAFKA);
}
