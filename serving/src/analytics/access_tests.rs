//! What analysts may and may not do, held alike over every protocol that they ask through.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::{Array as _, ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow_flight::sql::ProstMessageExt as _;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::{CancelFlightInfoRequest, CancelStatus, FlightInfo, sql};
use futures::{StreamExt as _, TryStreamExt as _};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio_postgres::{NoTls, SimpleQueryMessage};
use tonic::Code;
use tonic::transport::Channel;

use super::endpoint::{Endpoint, Protocol};
use crate::auth::{MintedToken, NewToken, Role, create_token};
use crate::events::compactor::settle;
use crate::testing::{NOW_MS, TestApp};

/// Rows of text, or why there are none.
type Answered = Result<Vec<Vec<Option<String>>>, String>;

/// A way of asking as somebody.
enum Desk<'a> {
    Http { test: &'a TestApp, token: String },
    Postgres { client: tokio_postgres::Client },
    Flight { client: Mutex<FlightClient> },
}

type FlightClient = FlightSqlServiceClient<Channel>;

impl Desk<'_> {
    async fn ask(&self, sql: &str) -> Answered {
        match self {
            Self::Http { test, token } => {
                let answer = test.post("/v1/sql", token, json!({ "query": sql })).await;
                let body = answer.json();
                if !answer.status.is_success() {
                    return Err(body["detail"].as_str().unwrap_or_default().to_owned());
                }
                let text = |value: &Value| match value {
                    Value::Null => None,
                    Value::String(text) => Some(text.clone()),
                    other => Some(other.to_string()),
                };
                let columns: Vec<&str> =
                    body["columns"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
                let rows = body["rows"].as_array().unwrap();
                Ok(rows.iter().map(|row| columns.iter().map(|column| text(&row[column])).collect()).collect())
            }
            Self::Postgres { client } => {
                let messages = client.simple_query(sql).await.map_err(|error| said(&error))?;
                let rows = messages.iter().filter_map(|message| match message {
                    SimpleQueryMessage::Row(row) => {
                        Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect())
                    }
                    _ => None,
                });
                Ok(rows.collect())
            }
            Self::Flight { client } => {
                let batches = fetch(&mut *client.lock().await, sql).await.map_err(|status| told(&status))?;
                Ok(batches.iter().flat_map(rows_of).collect())
            }
        }
    }
}

async fn fetch(client: &mut FlightClient, sql: &str) -> Result<Vec<RecordBatch>, tonic::Status> {
    let info = client.execute(sql.to_owned(), None).await.map_err(tonic::Status::from)?;
    collect(client, &info).await
}

async fn collect(client: &mut FlightClient, info: &FlightInfo) -> Result<Vec<RecordBatch>, tonic::Status> {
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let batches = client.do_get(ticket).await.map_err(tonic::Status::from)?;
    batches.try_collect().await.map_err(tonic::Status::from)
}

fn told(status: &tonic::Status) -> String {
    status.message().to_owned()
}

fn rows_of(batch: &RecordBatch) -> Vec<Vec<Option<String>>> {
    let options = FormatOptions::default();
    let columns: Vec<_> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
    let value =
        |at: usize, row: usize| (!batch.column(at).is_null(row)).then(|| columns[at].value(row).to_string());
    (0..batch.num_rows()).map(|row| (0..columns.len()).map(|at| value(at, row)).collect()).collect()
}

fn said(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
}

fn code(error: &tokio_postgres::Error) -> String {
    error.code().map_or_else(|| error.to_string(), |code| code.code().to_owned())
}

/// An installation with some events, and where its PostgreSQL connections come in.
struct Installation {
    test: TestApp,
    port: u16,
    flight_port: u16,
}

impl Installation {
    async fn open(change: impl FnOnce(&mut crate::config::Config)) -> Self {
        let test = TestApp::with(|config| {
            config.analytics.postgres = Some(([127, 0, 0, 1], 0).into());
            config.analytics.flight_sql = Some(([127, 0, 0, 1], 0).into());
            change(config);
        })
        .await;
        let mut ports = Vec::new();
        for protocol in [Protocol::Postgres, Protocol::FlightSql] {
            let endpoint = Endpoint::open(protocol, &test.app.config.analytics).await.unwrap().unwrap();
            ports.push(endpoint.listener.local_addr().unwrap().port());
            tokio::spawn(endpoint.serve(test.app.clone()));
        }
        let installation = Self { test, port: ports[0], flight_port: ports[1] };
        installation.events(0..3).await;
        installation
    }

    async fn events(&self, numbers: std::ops::Range<u64>) {
        let admin = self.test.token("root", Role::Admin).await;
        let events: Vec<Value> = numbers
            .map(|number| {
                json!({
                    "event_id": kinora_schema::EventId::derived("access", number, "event"), "kind": "impression",
                    "event_time_ms": NOW_MS, "user_id": format!("u{number}"), "video_id": "v1",
                    "surface": if number == 0 { "mail ada@example.org from 10.1.2.3" } else { "feed" }
                })
            })
            .collect();
        self.test.post("/v1/events", &admin, json!(events)).await.expect(200);
        self.test.post("/v1/events", &admin, json!([{ "mail": "ada@example.org" }])).await.expect(200);
        settle(&self.test.app).await;
    }

    async fn minted(&self, user: &str, role: Role) -> MintedToken {
        create_token(&self.test.app.db, NewToken::new(user.into(), role), NOW_MS).await.unwrap()
    }

    async fn connect(
        &self,
        user: &str,
        password: &str,
    ) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port).user(user).password(password).dbname("kinora");
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    async fn postgres(&self, role: Role) -> tokio_postgres::Client {
        let token = self.minted("ann", role).await;
        self.connect(&token.token_id, &token.token).await.unwrap()
    }

    async fn channel(&self) -> Channel {
        let address = format!("http://127.0.0.1:{}", self.flight_port);
        Channel::from_shared(address).unwrap().connect().await.unwrap()
    }

    async fn sign_in(&self, user: &str, password: &str) -> Result<FlightClient, tonic::Status> {
        let mut client = FlightSqlServiceClient::new(self.channel().await);
        client.handshake(user, password).await.map_err(tonic::Status::from)?;
        Ok(client)
    }

    async fn flight(&self, role: Role) -> FlightClient {
        let token = self.minted("ann", role).await;
        self.sign_in(&token.token_id, &token.token).await.unwrap()
    }

    /// Every way in, as somebody of this role.
    async fn desks(&self, role: Role) -> Vec<Desk<'_>> {
        vec![
            Desk::Http { test: &self.test, token: self.test.token("ann", role).await },
            Desk::Postgres { client: self.postgres(role).await },
            Desk::Flight { client: Mutex::new(self.flight(role).await) },
        ]
    }
}

async fn count(desk: &Desk<'_>, of: &str) -> String {
    let rows = desk.ask(&format!("select count(*) as n from {of}")).await.unwrap();
    rows[0][0].clone().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analyst_sees_what_the_role_may_see_and_an_admin_everything() {
    let rows = BTreeMap::from([("events".to_owned(), "user_id <> 'u2'".to_owned())]);
    let hidden = BTreeMap::from([("events".to_owned(), vec!["propensity".to_owned(), "policy".to_owned()])]);
    let installation = Installation::open(|config| {
        config.analytics.rows = rows;
        config.analytics.hidden = hidden;
    })
    .await;
    for desk in installation.desks(Role::Analyst).await {
        assert_eq!(count(&desk, "events").await, "2");
        // Views are made of what may be seen, whatever is asked of them.
        assert_eq!(count(&desk, "impression_outcomes").await, "2");
        assert_eq!(count(&desk, "events where user_id = 'u2' or 1 = 1").await, "2");
        assert_eq!(count(&desk, "kinora.public.events where policy is not null").await, "0");
        let surfaces = desk.ask("select surface from events order by user_id").await.unwrap();
        assert_eq!(surfaces[0][0].as_deref(), Some("mail [address] from [address]"));
        let refused = desk.ask("select raw, reason from quarantine").await.unwrap();
        assert!(refused.iter().all(|row| row[0].is_none() && row[1].is_some()), "{refused:?}");
        assert_eq!(count(&desk, "events where surface like '%ada@%'").await, "0");
    }
    for desk in installation.desks(Role::Admin).await {
        assert_eq!(count(&desk, "events").await, "3");
        assert_eq!(count(&desk, "quarantine where raw like '%ada@example.org%'").await, "1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_questions_are_answered() {
    let installation = Installation::open(|_| {}).await;
    for desk in installation.desks(Role::Admin).await {
        for refused in [
            "drop table events",
            "create table t as select 1",
            "create view v as select 1",
            "insert into events select * from events",
            "delete from events",
            "update events set user_id = 'x'",
            "copy events to '/tmp/out.parquet'",
            "copy (select 1) to '/tmp/out.csv'",
            "create external table t stored as csv location '/etc/passwd'",
            "explain analyze insert into events select * from events",
            "set datafusion.execution.batch_size = 1",
            "truncate events",
        ] {
            let error = desk.ask(refused).await.unwrap_err();
            assert!(!error.is_empty() && !error.contains('\n'), "{refused}: {error}");
        }
        assert_eq!(count(&desk, "events").await, "3");
        assert!(desk.ask("select * from '/etc/passwd'").await.is_err());
        assert!(!desk.ask("explain select * from events").await.unwrap().is_empty());
        assert!(desk.ask("show tables").await.unwrap().len() > 15);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_bounded_and_a_seat_is_given_back() {
    let installation = Installation::open(|config| {
        config.analytics.rows_max = 100;
        config.analytics.questions_at_once = 1;
    })
    .await;
    let client = installation.postgres(Role::Analyst).await;
    let error = client.simple_query("select * from generate_series(1, 101)").await.unwrap_err();
    assert_eq!((code(&error).as_str(), said(&error).contains("more than 100 rows")), ("54000", true));
    // With one seat, a seat that was kept would leave none for the next.
    for _ in 0..3 {
        assert_eq!(client.query("select * from generate_series(1, 100)", &[]).await.unwrap().len(), 100);
    }
    client.simple_query("set statement_timeout = 200").await.unwrap();
    let endless = "select count(*) from generate_series(1, 100000000000) a";
    let error = client.simple_query(endless).await.unwrap_err();
    assert_eq!(code(&error), "57014", "{error}");
    client.simple_query("set statement_timeout = 0").await.unwrap();

    // A question that is cancelled ends, and so does its work.
    let cancel = client.cancel_token();
    let (answer, ()) = tokio::join!(client.simple_query(endless), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        cancel.cancel_query(NoTls).await.unwrap();
    });
    assert_eq!(code(&answer.unwrap_err()), "57014");
    // Rows that nobody fetched any more are not worked on: the connection goes on.
    let rows = client.query_raw::<_, &str, _>("select * from generate_series(1, 90)", []).await.unwrap();
    drop(std::pin::pin!(rows).next().await);
    assert_eq!(client.query_one("select 1::bigint", &[]).await.unwrap().get::<_, i64>(0), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_ask_does_not_get_in_and_who_may_no_more_gets_no_answer() {
    let installation = Installation::open(|_| {}).await;
    let (analyst, user) =
        (installation.minted("ann", Role::Analyst).await, installation.minted("bob", Role::User).await);
    for (name, password) in [
        (analyst.token_id.as_str(), "kn_wrong"),
        (analyst.token_id.as_str(), user.token.as_str()),
        ("tok_unknown", analyst.token.as_str()),
        ("ann", analyst.token.as_str()),
        (user.token_id.as_str(), user.token.as_str()),
    ] {
        let error = installation.connect(name, password).await.unwrap_err();
        assert_eq!(code(&error), "28P01", "{name}: {error}");
    }
    let client = installation.connect(&analyst.token_id, &analyst.token).await.unwrap();
    let prepared = client.prepare("select count(*) from events").await.unwrap();
    assert_eq!(client.query_one(&prepared, &[]).await.unwrap().get::<_, i64>(0), 3);
    let admin = installation.test.token("root", Role::Admin).await;
    let path = format!("/v1/tokens/{}", analyst.token_id);
    installation.test.ask(axum::http::Method::DELETE, &path, &admin, None).await.expect(204);
    let error = client.query_one(&prepared, &[]).await.unwrap_err();
    assert_eq!(code(&error), "28000", "{error}");
    assert!(installation.connect(&analyst.token_id, &analyst.token).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn flight_questions_are_bounded_cancelled_and_given_up() {
    let installation = Installation::open(|config| {
        config.analytics.rows_max = 100;
        config.analytics.questions_at_once = 1;
        config.analytics.deadline_s = 2;
    })
    .await;
    let mut client = installation.flight(Role::Analyst).await;
    let error = fetch(&mut client, "select * from generate_series(1, 101)").await.unwrap_err();
    assert_eq!((error.code(), told(&error).contains("more than 100 rows")), (Code::ResourceExhausted, true));
    for _ in 0..3 {
        let rows = fetch(&mut client, "select * from generate_series(1, 100)").await.unwrap();
        assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 100);
    }
    let endless = "select count(*) from generate_series(1, 100000000000) a";
    let error = fetch(&mut client, endless).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded, "{error}");

    // Cancelled by what clients send now, and by what they sent before: the answer and its work end.
    for is_old in [false, true] {
        let info = client.execute(endless.to_owned(), None).await.unwrap();
        let mut other = client.clone();
        let (answer, ()) = tokio::join!(collect(&mut client, &info), async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            cancel(&mut other, &info, is_old).await.unwrap();
        });
        assert_eq!(answer.unwrap_err().code(), Code::Cancelled);
        let gone = cancel(&mut client, &info, is_old).await.unwrap_err();
        assert_eq!(gone.code(), Code::NotFound, "{gone}");
    }
    // A client that hangs up leaves its seat to others: there is one.
    let info = client.execute(endless.to_owned(), None).await.unwrap();
    let mut hung_up = client.clone();
    let given_up = tokio::time::timeout(Duration::from_millis(300), collect(&mut hung_up, &info)).await;
    assert!(given_up.is_err());
    assert_eq!(fetch(&mut client, "select 1").await.unwrap().len(), 1);
}

/// Cancels what was described, by `CancelFlightInfo` or the older `CancelQuery`.
async fn cancel(client: &mut FlightClient, info: &FlightInfo, is_old: bool) -> Result<(), tonic::Status> {
    let action = if is_old {
        let request = sql::ActionCancelQueryRequest { info: info.encode_to_vec().into() };
        arrow_flight::Action { r#type: "CancelQuery".into(), body: request.as_any().encode_to_vec().into() }
    } else {
        let request = CancelFlightInfoRequest::new(info.clone());
        arrow_flight::Action { r#type: "CancelFlightInfo".into(), body: request.encode_to_vec().into() }
    };
    let mut request = tonic::Request::new(action);
    let bearer = format!("Bearer {}", client.token().unwrap());
    request.metadata_mut().insert("authorization", bearer.parse().unwrap());
    let results: Vec<arrow_flight::Result> =
        client.inner_mut().do_action(request).await?.into_inner().try_collect().await?;
    if !is_old {
        let result = arrow_flight::CancelFlightInfoResult::decode(&*results[0].body).unwrap();
        assert_eq!(result.status(), CancelStatus::Cancelled);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flight_ticket_is_good_for_who_asked_and_while_the_token_is() {
    let installation = Installation::open(|_| {}).await;
    let (analyst, user) =
        (installation.minted("ann", Role::Analyst).await, installation.minted("bob", Role::User).await);
    for (name, password) in [
        (analyst.token_id.as_str(), "kn_wrong"),
        (analyst.token_id.as_str(), user.token.as_str()),
        ("tok_unknown", analyst.token.as_str()),
        ("ann", analyst.token.as_str()),
    ] {
        let error = installation.sign_in(name, password).await.unwrap_err();
        // The client's library wraps what the server said about signing in.
        assert!(error.message().contains("one of them is wrong"), "{name}: {error}");
    }
    let error = installation.sign_in(&user.token_id, &user.token).await.unwrap_err();
    assert!(error.message().contains("analyst role"), "{error}");

    // Nobody, and somebody with a bearer of their own making.
    let mut stranger = FlightSqlServiceClient::new(installation.channel().await);
    for bearer in [None, Some("x"), Some("a.99999999999999.tok_1")] {
        if let Some(bearer) = bearer {
            stranger.set_token(bearer.to_owned());
        }
        let error = fetch(&mut stranger, "select 1").await.unwrap_err();
        assert_eq!(error.code(), Code::Unauthenticated, "{error}");
        let error = tonic::Status::from(stranger.get_catalogs().await.unwrap_err());
        assert_eq!(error.code(), Code::Unauthenticated, "{error}");
    }
    // A token itself is as good as a bearer that was bought with it.
    stranger.set_token(analyst.token.clone());
    assert_eq!(fetch(&mut stranger, "select 1").await.unwrap().len(), 1);

    // What an admin may see is not handed out to an analyst who found the ticket.
    let mut admin = installation.flight(Role::Admin).await;
    let mut client = installation.sign_in(&analyst.token_id, &analyst.token).await.unwrap();
    let info = admin.execute("select raw from quarantine".to_owned(), None).await.unwrap();
    let error = collect(&mut client, &info).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound, "{error}");
    assert_eq!(collect(&mut admin, &info).await.unwrap()[0].num_rows(), 1);
    // Fetched once.
    assert_eq!(collect(&mut admin, &info).await.unwrap_err().code(), Code::NotFound);

    let info = client.execute("select count(*) from events".to_owned(), None).await.unwrap();
    let root = installation.test.token("root", Role::Admin).await;
    let path = format!("/v1/tokens/{}", analyst.token_id);
    installation.test.ask(axum::http::Method::DELETE, &path, &root, None).await.expect(204);
    let error = collect(&mut client, &info).await.unwrap_err();
    assert_eq!(error.code(), Code::Unauthenticated, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn flight_clients_prepare_bind_and_list_tables() {
    let installation = Installation::open(|_| {}).await;
    let mut client = installation.flight(Role::Analyst).await;
    let text = "select user_id, event_time_ms from events where user_id = $1 and event_time_ms >= $2";
    let mut prepared = client.prepare(text.to_owned(), None).await.unwrap();
    assert_eq!(prepared.dataset_schema().unwrap().fields().len(), 2);
    assert_eq!(prepared.parameter_schema().unwrap().fields().len(), 2);
    for (user, expected) in [("u1", 1), ("u9", 0), ("u2", 1)] {
        let parameters = RecordBatch::try_from_iter([
            ("1", std::sync::Arc::new(StringArray::from(vec![user])) as ArrayRef),
            ("2", std::sync::Arc::new(Int64Array::from(vec![0])) as ArrayRef),
        ]);
        prepared.set_parameters(parameters.unwrap()).unwrap();
        let info = prepared.execute().await.unwrap();
        let rows: Vec<_> = collect(&mut client, &info).await.unwrap().iter().flat_map(rows_of).collect();
        assert_eq!(rows.len(), expected, "{user}: {rows:?}");
        assert!(rows.iter().all(|row| row[0].as_deref() == Some(user)));
    }
    prepared.close().await.unwrap();

    let tables = sql::CommandGetTables { include_schema: true, ..Default::default() };
    let info = client.get_tables(tables).await.unwrap();
    let found = collect(&mut client, &info).await.unwrap();
    let names: Vec<String> = found.iter().flat_map(rows_of).filter_map(|row| row[2].clone()).collect();
    for name in ["events", "impression_outcomes", "retention_by_cohort"] {
        assert!(names.contains(&name.to_owned()), "{names:?}");
    }
    for info in [
        client.get_catalogs().await.unwrap(),
        client.get_db_schemas(sql::CommandGetDbSchemas::default()).await.unwrap(),
        client.get_table_types().await.unwrap(),
        client.get_sql_info(vec![sql::SqlInfo::FlightSqlServerReadOnly]).await.unwrap(),
    ] {
        assert!(collect(&mut client, &info).await.unwrap()[0].num_rows() > 0);
    }
    let keys = sql::CommandGetPrimaryKeys { table: "events".into(), ..Default::default() };
    let info = client.get_primary_keys(keys).await.unwrap();
    assert!(collect(&mut client, &info).await.unwrap().iter().all(|batch| batch.num_rows() == 0));

    let error =
        tonic::Status::from(client.execute_update("delete from events".into(), None).await.unwrap_err());
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    let error = tonic::Status::from(client.begin_transaction().await.unwrap_err());
    assert_eq!(error.code(), Code::Unimplemented, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_types_and_new_events_arrive() {
    let installation = Installation::open(|_| {}).await;
    let client = installation.postgres(Role::Analyst).await;
    let sql = "select user_id, event_time_ms, propensity, kind = 'impression' as shown
        from events where user_id = $1 and event_time_ms >= $2";
    let row = client.query_one(sql, &[&"u1", &0_i64]).await.unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, i64>(1)), ("u1", NOW_MS));
    assert_eq!((row.get::<_, Option<f32>>(2), row.get::<_, bool>(3)), (None, true));

    let n = "select count(*) from events";
    assert_eq!(client.query_one(n, &[]).await.unwrap().get::<_, i64>(0), 3);
    installation.events(3..5).await;
    assert_eq!(client.query_one(n, &[]).await.unwrap().get::<_, i64>(0), 5);

    // Transactions hold nothing; a failed one asks to be ended, as everywhere.
    client.batch_execute("begin; select 1; commit").await.unwrap();
    client.batch_execute("set application_name = 'test'; set time zone 'UTC'; discard all").await.unwrap();
    let error = client.batch_execute("set role admin").await.unwrap_err();
    assert!(["42704", "0A000", "42601"].contains(&code(&error).as_str()), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_that_list_tables_find_them() {
    let installation = Installation::open(|_| {}).await;
    let client = installation.postgres(Role::Analyst).await;
    let tables = "select n.nspname, c.relname from pg_catalog.pg_class c
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where n.nspname = 'public' and c.relname = 'impression_outcomes'";
    assert_eq!(client.query(tables, &[]).await.unwrap().len(), 1);
    // The number of a table is the same from question to question.
    let oid = "select oid from pg_catalog.pg_class where relname = 'events'";
    let numbers: Vec<u32> =
        [client.query_one(oid, &[]).await.unwrap().get(0), client.query_one(oid, &[]).await.unwrap().get(0)]
            .into();
    assert_eq!(numbers[0], numbers[1]);
    let columns = "select column_name, data_type from information_schema.columns
        where table_name = 'events' order by ordinal_position";
    assert_eq!(client.query(columns, &[]).await.unwrap().len(), 17);
    let version: String = client.query_one("select version()", &[]).await.unwrap().get(0);
    assert!(!version.is_empty());
    let database: String = client.query_one("select current_database()", &[]).await.unwrap().get(0);
    assert_eq!(database, "kinora");
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_stops_the_start_and_plain_text_does_not_leave_the_machine() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = (directory.path().join("certificate.pem"), directory.path().join("key.pem"));
    std::fs::write(&certificate, "nothing").unwrap();
    std::fs::write(&key, "nothing").unwrap();
    let config = crate::config::AnalyticsConfig {
        postgres: Some(([127, 0, 0, 1], 0).into()),
        flight_sql: Some(([127, 0, 0, 1], 0).into()),
        tls_certificate: Some(certificate.clone()),
        tls_key: Some(key.clone()),
        ..Default::default()
    };
    for protocol in [Protocol::Postgres, Protocol::FlightSql] {
        let error = Endpoint::open(protocol, &config).await.map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("certificate.pem") && !error.contains('\n'), "{error}");
    }

    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&certificate, own.cert.pem()).unwrap();
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    let installation = Installation::open(|changed| {
        changed.analytics.tls_certificate = Some(certificate);
        changed.analytics.tls_key = Some(key);
    })
    .await;
    let token = installation.minted("ann", Role::Analyst).await;
    let error = installation.connect(&token.token_id, &token.token).await.unwrap_err();
    assert!(said(&error).contains("TLS"), "{error}");
    // Nothing of HTTP/2 is understood before a handshake: no header with a password is ever read.
    let plain = Channel::from_shared(format!("http://127.0.0.1:{}", installation.flight_port)).unwrap();
    let signed_in = match plain.connect().await {
        Ok(channel) => {
            FlightSqlServiceClient::new(channel).handshake(&token.token_id, &token.token).await.is_ok()
        }
        Err(_) => false,
    };
    assert!(!signed_in);
}
