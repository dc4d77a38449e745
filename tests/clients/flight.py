"""What notebooks use against a running server: ADBC over Flight SQL, with parameters, streams, cancellation and the
catalogue; the same policy as over PostgreSQL.

Arguments: ADDRESS TOKEN_ID TOKEN. Prints a JSON summary; any surprise ends with a traceback.
"""

import json
import sys
import threading
import time

import adbc_driver_flightsql.dbapi as flight_sql
import adbc_driver_manager
import pyarrow


def connect(address: str, token_id: str, token: str):
    return flight_sql.connect(address, db_kwargs={"username": token_id, "password": token}, autocommit=True)


def refused(cursor, sql: str) -> str:
    try:
        cursor.execute(sql)
        cursor.fetchall()
    except adbc_driver_manager.Error as error:
        return str(error)
    raise AssertionError(f"{sql} was answered")


def main() -> None:
    address, token_id, token = sys.argv[1:]
    try:
        with connect(address, token_id, "kn_wrong") as connection, connection.cursor() as cursor:
            cursor.execute("select 1")
    except adbc_driver_manager.Error as error:
        assert "wrong" in str(error), error
    else:
        raise AssertionError("a wrong password was let in")

    with connect(address, token_id, token) as connection:
        with connection.cursor() as cursor:
            cursor.execute("select event_date, impressions, click_rate from daily_engagement order by 1")
            table = cursor.fetch_arrow_table()
            assert isinstance(table, pyarrow.Table) and table.num_rows > 0, table
            rows = table.to_pylist()
            assert all(0 <= row["click_rate"] <= 1 for row in rows), rows

            cursor.execute(
                "select count(*) as n from impression_outcomes where user_id = $1 or watch_ms >= $2", ("u1", 0)
            )
            bound = cursor.fetchone()[0]
            cursor.execute("select count(*) from impression_outcomes where user_id = 'u1' or watch_ms >= 0")
            assert bound == cursor.fetchone()[0] > 0, bound

            cursor.execute("select user_id, kind, event_time_ms, propensity from events")
            streamed = sum(batch.num_rows for batch in cursor.fetch_record_batch())
            assert streamed > 1000, streamed

            for sql in ("insert into events select * from events", "drop table events", "create table t (a int)",
                        "copy events to '/tmp/out'", "set datafusion.execution.batch_size = 1"):
                message = refused(cursor, sql)
                assert "refused" in message, message
            cursor.execute("select mail from (select raw as mail from quarantine) q")
            assert all(row[0] is None for row in cursor.fetchall())

            cancelled = threading.Timer(0.5, cursor.adbc_cancel)
            cancelled.start()
            began = time.monotonic()
            refused(cursor, "select count(*) from generate_series(1, 100000000000)")
            assert time.monotonic() - began < 15

        with connection.cursor() as cursor:
            cursor.execute("select 1")
            assert cursor.fetchone() == (1,)
        assert connection.adbc_get_info()["vendor_name"] == "Kinora"
        assert {"TABLE", "VIEW"} <= set(connection.adbc_get_table_types())
        catalogue = connection.adbc_get_objects(depth="columns", catalog_filter="kinora").read_all().to_pylist()
        tables = {
            table["table_name"]: [column["column_name"] for column in table["table_columns"]]
            for schema in catalogue[0]["catalog_db_schemas"] for table in schema["db_schema_tables"]
        }
        assert "event_time_ms" in tables["events"] and "retention_by_cohort" in tables, tables
        schema = connection.adbc_get_table_schema("events", db_schema_filter="public")
        assert schema.field("event_time_ms").type == pyarrow.int64(), schema
    print(json.dumps({"days": len(rows), "events": streamed, "tables": len(tables)}))


if __name__ == "__main__":
    main()
