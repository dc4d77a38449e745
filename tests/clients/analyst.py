"""What analysts use against a running server: psycopg with parameters, cursors and cancellation, and SQLAlchemy
with the queries by which dashboards find tables and columns.

Arguments: HOST PORT TOKEN_ID TOKEN. Prints a JSON summary; any surprise ends with a traceback.
"""

import json
import sys
import threading
import time

import psycopg
import sqlalchemy


def refused(connection: psycopg.Connection, sql: str) -> str:
    try:
        connection.execute(sql)
    except psycopg.Error as error:
        connection.rollback()
        return error.sqlstate or str(error)
    raise AssertionError(f"{sql} was answered")


def main() -> None:
    host, port, token_id, token = sys.argv[1:]
    where = f"host={host} port={port} dbname=kinora user={token_id}"

    try:
        psycopg.connect(f"{where} password=kn_wrong")
    except psycopg.OperationalError as error:
        assert "wrong" in str(error), error
    else:
        raise AssertionError("a wrong password was let in")

    with psycopg.connect(f"{where} password={token}") as connection:
        rows = connection.execute(
            "select event_date, impressions, click_rate from daily_engagement where impressions > %s order by 1", [0]
        ).fetchall()
        assert rows and all(isinstance(row[1], int) and 0 <= row[2] <= 1 for row in rows), rows
        binary = connection.execute(
            "select count(*), avg(watch_ms), max(user_id) from impression_outcomes", binary=True
        ).fetchone()
        assert binary[0] == sum(row[1] for row in rows), binary

        with connection.cursor() as cursor:
            cursor.execute("select user_id, kind, event_time_ms, propensity from events")
            streamed = sum(len(cursor.fetchmany(500)) for _ in range(10_000) if cursor.rownumber < cursor.rowcount)
            assert streamed == cursor.rowcount > 1000, (streamed, cursor.rowcount)

        for sql in ("insert into events select * from events", "drop table events", "create table t (a int)",
                    "copy events to stdout", "set datafusion.execution.batch_size = 1"):
            assert refused(connection, sql) in ("0A000", "42601", "42704"), sql

        cancelled = threading.Timer(0.5, connection.cancel)
        cancelled.start()
        began = time.monotonic()
        state = refused(connection, "select count(*) from generate_series(1, 100000000000)")
        assert state == "57014" and time.monotonic() - began < 20, state
        assert connection.execute("select 1").fetchone() == (1,)

    engine = sqlalchemy.create_engine(
        sqlalchemy.URL.create("postgresql+psycopg", token_id, token, host, int(port), "kinora")
    )
    with engine.connect() as connection:
        funnel = connection.execute(sqlalchemy.text("select sum(shown), sum(clicked) from funnel")).one()
        assert funnel[0] >= funnel[1] > 0, funnel
        catalogue = sqlalchemy.inspect(connection)
        tables = set(catalogue.get_table_names()) | set(catalogue.get_view_names())
        assert {"events", "impression_outcomes", "retention_by_cohort"} <= tables, tables
        listed = connection.execute(sqlalchemy.text(
            "select column_name, data_type from information_schema.columns where table_name = 'events'"
        )).all()
        assert ("event_time_ms", "Int64") in [tuple(row) for row in listed] and len(listed) == 17, listed
    engine.dispose()
    print(json.dumps({"days": len(rows), "events": streamed, "shown": int(funnel[0])}))


if __name__ == "__main__":
    main()
