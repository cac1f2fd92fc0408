// Asks DuckDB about a Parquet file that pastcone exported: node ask.mjs FILE. Prints one JSON line an answer.
//
// DuckDB is a reader of Parquet that is not ours: what it gives back, others see too.
import { DuckDBInstance } from '@duckdb/node-api';

const file = process.argv[2].replaceAll("'", "''");
const questions = {
  version: 'select version() as v',
  schema: `select column_name, column_type from (describe select * from '${file}')`,
  metadata: `select decode(key)::varchar as key, decode(value)::varchar as value from parquet_kv_metadata('${file}') where decode(key) = 'pastcone.schema'`,
  compression: `select distinct compression from parquet_metadata('${file}')`,
  events: `select count(*)::int as n, min(id)::int as low, max(id)::int as high from '${file}'`,
  kinds: `select kind, count(*)::int as n from '${file}' group by kind order by kind`,
  parents: `select count(*)::int as n from '${file}' e join '${file}' p on e.parent = p.id where e.correlation <> e.id and p.correlation <> e.correlation`,
  edges: `select c.kind, c.confidence, count(*)::int as n from (select unnest(causes) as c from '${file}') group by all order by all`,
  duration: `select sum(duration)::varchar as ns from '${file}'`,
  data: `select count(*)::int as n from '${file}' where data is not null and json_valid(data)`,
  times: `select min(epoch_ns(time))::varchar as low, max(epoch_ns(time))::varchar as high from '${file}'`,
};
const connection = await (await DuckDBInstance.create(':memory:')).connect();
for (const [name, sql] of Object.entries(questions)) {
  const reader = await connection.runAndReadAll(sql);
  console.log(JSON.stringify({ name, rows: reader.getRowObjectsJson() }));
}
