---@meta tidemark
-- SPDX-License-Identifier: Apache-2.0
-- What editors know about jobs. Never run: the code is in the folder above.

---@class tide
local tide = {}

---A record as Kafka gave it. Good while its batch runs.
---@class tide.Record
---@field key tide.Text?
---@field value tide.Text?
---@field topic string
---@field partition integer
---@field offset integer
---@field timestamp number? milliseconds since 1970
---@field header_count integer
local Record = {}

---Iterates over name and value; a null value is nil.
---@return fun(): tide.Text, tide.Text?
function Record:headers() end

---The value of the last header of that name.
---@param name string
---@return tide.Text?
function Record:header(name) end

---The value read as JSON; null is nil. An error if it is not JSON.
---@return any
function Record:decode() end

---Text of a batch: reads like a string, costs nothing until it becomes one.
---tostring() it to keep it longer than its batch. As a table key, use
---tostring() or tide.set and tide.map: text itself is a new key each time.
---@class tide.Text: string
local Text = {}

---@return fun(): tide.Text
function Text:words() end
---@param separator string
---@return fun(): tide.Text
function Text:split(separator) end
---@param i? integer
---@param j? integer
---@return tide.Text
function Text:sub(i, j) end
---@return tide.Text
function Text:lower() end
---@return tide.Text
function Text:upper() end
---@return tide.Text
function Text:trim() end
---@param what string
---@return boolean
function Text:starts_with(what) end
---@param what string
---@return boolean
function Text:ends_with(what) end
---@param what string
---@return boolean
function Text:contains(what) end

---A row: its columns by name, and `rec` until it is grouped.
---@class tide.Row: { [string]: any }
---@field rec tide.Record

---@class tide.Stream
local Stream = {}

---Read columns from the value: "id:int", "name:string?" (may be null),
---"user_id=user.id:int" (nested). Types: int double bool string bytes timestamp.
---@param columns string[]
---@param options? { malformed: "error"|"null"|tide.Endpoint }
---@return tide.Stream
function Stream:json(columns, options) end

---Keep the rows for which fn is true.
---@param fn fun(row: tide.Row|tide.Record): boolean?
---@return tide.Stream
function Stream:filter(fn) end

---One new row for each: fn returns the values of `columns` in their order.
---@param fn fun(row: tide.Row|tide.Record): ...
---@param columns string[] without a type, a column is a string
---@return tide.Stream
function Stream:map(fn, columns) end

---Any number of new rows for each: emit takes the values of `columns` in order.
---@param fn fun(row: tide.Row|tide.Record, emit: fun(...: any))
---@param columns string[] without a type, a column is a string
---@return tide.Stream
function Stream:flat_map(fn, columns) end

---Add a column.
---@param column string "name:type"
---@param fn fun(row: tide.Row|tide.Record): any
---@return tide.Stream
Stream["with"] = function(self, column, fn) end

---Keep these columns, in this order.
---@param columns string[]
---@return tide.Stream
function Stream:select(columns) end

---The rows of this stream and of others with the same columns, by name and type.
---@param ... tide.Stream
---@return tide.Stream
function Stream:union(...) end

---Event time: rows are late once the watermark, the greatest value of the column less the
---delay, has passed them. Comes before group_by.
---@param column string of type timestamp
---@param delay string|number like "30s"
---@param options? { per_partition?: boolean, idle?: string, max_ahead?: string|false, name?: string }
---@return tide.Stream
function Stream:watermark(column, delay, options) end
---Behind a watermark: of rows with the same key within the time, only the first
---goes on, or each newer version.
---@param options tide.DedupOptions
---@return tide.Stream
function Stream:dedup(options) end

---The rows that are late for the watermark; with `within` those not older than the
---newest event time less that, and a watermark that is so far behind.
---@param options? tide.LateOptions
---@return tide.Stream
function Stream:late(options) end

---Late rows go to the sinks, too; the stream goes on as it is. Behind dedup: the rows
---that it drops as late.
---@param ... tide.Endpoint|tide.LateOptions sinks, and options
---@return tide.Stream
function Stream:late_to(...) end

---@param ... string|{ name: string } columns, and a name for the state
---@return tide.Grouped
function Stream:group_by(...) end

---@param ... tide.Endpoint
---@return tide.Output
function Stream:to(...) end

---@class tide.Grouped
local Grouped = {}

---Windows of event time: rows get columns window_start and window_end.
---@param size string|number like "10s"
---@param slide? string|number|{ offset?: string, late?: "closed"|"strict" } from one to the next
---@param options? { offset?: string, late?: "closed"|"strict" }
---@return tide.Grouped
function Grouped:window(size, slide, options) end

---Sessions: rows of a group with no more than the gap between them. They get columns
---window_start (of the first) and window_end (the last, and the gap); no update mode.
---@param gap string|number like "30m"
---@param options? { late?: "closed"|"strict" }
---@return tide.Grouped
function Grouped:session(gap, options) end

---The rows that these groups drop as late go to the sinks.
---@param ... tide.Endpoint|{ sample?: number }
---@return tide.Grouped
function Grouped:late_to(...) end

---Rows of each group, as column "count".
---@param column? string only where it is not null
---@return tide.Stream
function Grouped:count(column) end

---The sum of a column, as "sum_<column>"; nulls are skipped.
---@param column string
---@param as? string
---@return tide.Stream
function Grouped:sum(column, as) end

---What a new version of a job makes of the states in its checkpoint: called once for
---each key. `old.<aggregate>.<column>` is what the state has; a list, a sketch or a whole
---aggregate can be passed on as it is. What is not returned begins at zero.
---@alias tide.Migrate fun(old: table<string, table>): table<string, table>|nil

---@class tide.AggregateOptions
---@field version? integer of the state, from 1 (the default) on
---@field migrate? tide.Migrate takes over states of lower versions; nil gives a key up

---Several aggregates; their order is that of the columns.
---@param list tide.Aggregate[]
---@param options? tide.AggregateOptions
---@return tide.Stream
function Grouped:aggregate(list, options) end

---@class tide.Aggregate
local Aggregate = {}

---@param name string
---@return tide.Aggregate
function Aggregate:as(name) end

---@class tide.Output
---@class tide.Endpoint

---@class tide.DedupOptions
---@field by string|string[] columns
---@field keep? "first"|"latest" default "first"
---@field within? string|number "2h"; default: the watermark's delay
---@field name? string

---@class tide.LateOptions
---@field within? string|number "30m"; behind the newest event time
---@field sample? number the share of them that goes on, like 0.1
---@field by? string|string[] columns: how many different ones are affected
---@field name? string

---@class tide.KafkaOptions
---@field topic? string|string[] a topic, a list, or "^pattern"
---@field topics? string|string[]
---@field start? "earliest"|"latest"|string|integer
---@field brokers? string
---@field group? string

---Of tide.kafka as a sink. Key, timestamp and values of headers are columns.
---@class tide.KafkaSinkOptions
---@field topic string|fun(row: tide.Row): string
---@field key? string
---@field value? "json"|string|string[] all columns as JSON, one column, or JSON of these columns
---@field timestamp? string
---@field headers? table<string|integer, string> { name = "column" }, or a list of columns
---@field mode? "append"|"update"|"complete"
---@field name? string
---@field brokers? string
---@field exactly_once? boolean default true: in transactions
---@field on_reject? "fail"|"dead_letter" rows that the topic does not take: to on_error's sink
---@field partitions? integer a topic that is missing is created with so many

---@class tide.FilesOptions
---@field path string the folder
---@field format? "json"
---@field every? string "10s": epochs are gathered so long
---@field mode? "append"|"update"
---@field name? string

---@class tide.ConsoleOptions
---@field mode? "append"|"update"|"complete"
---@field rows? integer
---@field truncate? boolean|integer
---@field name? string

---@class tide.JobOptions
---@field name? string
---@field trigger? string "10s"
---@field max_records_per_batch? integer
---@field max_records_per_second? integer
---@field workers? integer
---@field on_error? "fail"|"skip"|tide.Endpoint a sink takes the records that fail
---@field fail_on_data_loss? boolean
---@field outputs tide.Output[]

---@param source tide.Endpoint
---@return tide.Stream
function tide.from(source) end

---Records to read, or a topic to write rows to.
---@param options tide.KafkaOptions|tide.KafkaSinkOptions
---@return tide.Endpoint
function tide.kafka(options) end

---@param options? tide.ConsoleOptions
---@return tide.Endpoint
function tide.console(options) end

--- Rows as JSON lines in the files of a folder: whole files only, each row once.
---@param options tide.FilesOptions
---@return tide.Endpoint
function tide.files(options) end

---@param options tide.JobOptions
function tide.job(options) end

---Words of text: runs of letters and digits, in lower case.
---@param text tide.Text|string|nil
---@return fun(): tide.Text
function tide.words(text) end

---Null or empty.
---@param text tide.Text|string|nil
---@return boolean
function tide.blank(text) end

---@param column? string only where it is not null
---@return tide.Aggregate
function tide.count(column) end

---Rows for which a bool column is true, or fn of the columns before it is. A
---condition on a null does not hold.
---@param ... string|fun(...: any): boolean? "ok", or "v", function(v) return v > 2 end
---@return tide.Aggregate
function tide.count_if(...) end

---The sum of an int or double column; nulls are skipped, of nothing it is null.
---@param column string
---@return tide.Aggregate
function tide.sum(column) end

---The sum over the rows for which a condition holds, as in tide.count_if; a
---function alone is of the column itself.
---@param column string
---@param ... string|fun(...: any): boolean?
---@return tide.Aggregate
function tide.sum_if(column, ...) end

---The mean of an int or double column, as a double.
---@param column string
---@return tide.Aggregate
function tide.avg(column) end

---The least value of a column. Text is compared by bytes and may have 64 of
---them, or max_bytes.
---@param column string
---@param options? { max_bytes: integer }
---@return tide.Aggregate
function tide.min(column, options) end

---The greatest value of a column.
---@param column string
---@param options? { max_bytes: integer }
---@return tide.Aggregate
function tide.max(column, options) end

---The first value of a column that is not null: by the column `by`, else by the
---record's timestamp; then by topic, partition and offset.
---@param column string
---@param options? { by: string, max_bytes: integer }
---@return tide.Aggregate
function tide.first(column, options) end

---The last value of a column that is not null, in the order of tide.first.
---@param column string
---@param options? { by: string, max_bytes: integer }
---@return tide.Aggregate
function tide.last(column, options) end

---The variance of a sample (n - 1); the same as tide.variance.
---@param column string
---@return tide.Aggregate
function tide.var_samp(column) end

---The variance of a population (n).
---@param column string
---@return tide.Aggregate
function tide.var_pop(column) end

---The standard deviation of a sample (n - 1); the same as tide.stddev.
---@param column string
---@return tide.Aggregate
function tide.stddev_samp(column) end

---The standard deviation of a population (n).
---@param column string
---@return tide.Aggregate
function tide.stddev_pop(column) end

tide.variance, tide.stddev = tide.var_samp, tide.stddev_samp

---How many different values there are, in at most 2 KB a key. rsd is the relative
---standard deviation, at least 0.0153; more is smaller.
---@param column string
---@param options? number|{ rsd: number }
---@return tide.Aggregate
function tide.approx_count_distinct(column, options) end

---How many different values there are, exactly, in a window: an error beyond max.
---@param column string
---@param options { max: integer }
---@return tide.Aggregate
function tide.count_distinct(column, options) end

---The value below which a part of the values lie, 0.5 for the median. Exact while
---a group has no more different values than buckets (256), then off by one at most.
---@param column string
---@param rank number 0 to 1
---@param options? { buckets: integer } 16 to 1024, 16 bytes each
---@return tide.Aggregate
function tide.approx_percentile(column, rank, options) end

---The most frequent values as JSON: [{"item":…,"count":…}]. Exact while a group has
---no more different values than places (64), then too high by rows / places at most.
---@param column string
---@param count integer
---@param options? { places: integer, max_bytes: integer }
---@return tide.Aggregate
function tide.top_k(column, count, options) end

---The mean of the last values in the order of tide.last; null while there are fewer.
---@param column string
---@param points integer
---@param options? { by: string }
---@return tide.Aggregate
function tide.moving_avg(column, points, options) end

---@class tide.AggregatorDefinition
---@field state table<string, string> int, double, bool, timestamp; int[8], double[8]; text(32); sketch
---@field add fun(state: table, ...: any)
---@field merge fun(state: table, other: table)
---@field result fun(state: table): any
---@field returns? string type of the result; default "double?"
---@field name? string

---An aggregate of your own; call it with its columns.
---@param definition tide.AggregatorDefinition
---@return fun(...: string): tide.Aggregate
function tide.aggregator(definition) end

---A set of texts: set[text] is true or nil.
---@param list string[]
---@return table<tide.Text|string, true?>
function tide.set(list) end

---A map by text: map[text] is the value or nil.
---@generic T
---@param map table<string, T>
---@return table<tide.Text|string, T?>
function tide.map(map) end

---A value as one line of JSON.
---@param value any
---@return string
function tide.json(value) end

---The time of the epoch in milliseconds: the same whenever it runs again.
---@return number
function tide.now() end

---As math.random, decided by the record and the epoch.
---@param m? integer
---@param n? integer
---@return number
function tide.random(m, n) end

---"30s", "5m", "1 hour 30 minutes" as milliseconds.
---@param span string|number
---@return number
function tide.ms(span) end

---Milliseconds as "2024-01-01T12:00:00.000Z".
---@param ms number
---@return string
function tide.format(ms) end

---ISO 8601 text as milliseconds, or nil.
---@param text tide.Text|string
---@return number?
function tide.parse(text) end

---The value of --set key=value, in the type of the default.
---@generic T: string|number|boolean|nil
---@param key string
---@param default? T
---@return T
function tide.setting(key, default) end

return tide
