//! SQL over the PostgreSQL wire protocol, for psql, drivers and dashboards.
//!
//! The journey of a question: the connection is held to TLS where that is configured, its token is proven by
//! SCRAM, each statement is planned in a session that has only what the token's role may see, a plan that does
//! anything but read is refused, and the rows leave in a stream with a deadline and caps that a cancellation
//! ends.
//! INVARIANT: a statement of a kind that is not listed is refused; no statement changes what another connection
//! sees; a token that was revoked or has expired answers nothing more.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, LogicalPlan, ScalarUDF, Volatility, create_udf};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{Set, Statement as Sql};
use datafusion_postgres::QueryHook as _;
use datafusion_postgres::arrow_pg::datatypes::{
    arrow_schema_to_pg_fields, df::deserialize_parameters, encode_recordbatch, into_pg_type,
};
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::setup_pg_catalog;
use datafusion_postgres::datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use datafusion_postgres::hooks::set_show::SetShowHook;
use datafusion_postgres::hooks::transactions::TransactionStatementHook;
use datafusion_postgres::pgwire::api::auth::{
    DefaultServerParameterProvider, StartupHandler, finish_authentication, protocol_negotiation,
    save_startup_parameters_to_metadata,
};
use datafusion_postgres::pgwire::api::cancel::CancelHandler;
use datafusion_postgres::pgwire::api::portal::{Format, Portal};
use datafusion_postgres::pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use datafusion_postgres::pgwire::api::results::{FieldInfo, QueryResponse, Response, Tag};
use datafusion_postgres::pgwire::api::stmt::QueryParser;
use datafusion_postgres::pgwire::api::store::PortalStore;
use datafusion_postgres::pgwire::api::{
    ClientInfo, ClientPortalStore, METADATA_USER, PgWireConnectionState, PgWireServerHandlers,
    PidSecretKeyGenerator, RandomPidSecretKeyGenerator, Type,
};
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::cancel::CancelRequest;
use datafusion_postgres::pgwire::messages::startup::Authentication;
use datafusion_postgres::pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use datafusion_postgres::pgwire::tokio::process_socket;
use futures::{Sink, SinkExt as _, StreamExt as _, stream};
use kinora_pipelines::query::{self, CATALOG, QueryError};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::endpoint::Endpoint;
use super::scram::{self, Challenge};
use crate::app::App;
use crate::auth::{self, Role};

/// Most connections at the same time.
const CONNECTIONS_MAX: usize = 100;

/// Answers connections until the server is asked to stop.
pub(crate) async fn serve(app: App, endpoint: Endpoint) {
    let Endpoint { listener, tls, .. } = endpoint;
    let shared = Arc::new(Shared {
        app: app.clone(),
        is_tls: tls.is_some(),
        keys: RandomPidSecretKeyGenerator::default(),
        running: Mutex::default(),
    });
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = app.shutdown.cancelled() => return,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a PostgreSQL connection");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(seat) = Arc::clone(&seats).try_acquire_owned() else {
            tracing::warn!("a PostgreSQL connection was turned away: there are {CONNECTIONS_MAX}");
            continue;
        };
        let (tls, connection) = (tls.clone(), Arc::new(Connection::new(Arc::clone(&shared))));
        let stop = app.shutdown.clone();
        tokio::spawn(async move {
            let _seat = seat;
            let answered: io::Result<()> = tokio::select! {
                answered = process_socket(socket, tls, Handlers(Arc::clone(&connection))) => answered,
                () = stop.cancelled() => Ok(()),
            };
            connection.cancel();
            if let Err(error) = answered {
                tracing::debug!(%error, "a PostgreSQL connection ended");
            }
        });
    }
}

/// What all connections have in common.
struct Shared {
    app: App,
    /// Whether a connection without TLS is refused.
    is_tls: bool,
    keys: RandomPidSecretKeyGenerator,
    /// Connections by the key that a cancellation names.
    running: Mutex<HashMap<(i32, Bytes), Weak<Connection>>>,
}

/// One connection, from its first message to its last.
struct Connection {
    shared: Arc<Shared>,
    challenge: Mutex<Option<(String, Challenge)>>,
    /// The token that was proven.
    token_id: Mutex<Option<String>>,
    /// What it sees: tables keep their numbers in the catalogue from question to question.
    session: tokio::sync::Mutex<Option<Session>>,
    /// Ends the statement that is being answered.
    statement: Mutex<CancellationToken>,
}

/// A session, and what of the lake it was made of.
struct Session {
    context: Arc<SessionContext>,
    versions: BTreeMap<String, u64>,
    role: Role,
}

impl Connection {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            challenge: Mutex::default(),
            token_id: Mutex::default(),
            session: tokio::sync::Mutex::default(),
            statement: Mutex::default(),
        }
    }

    fn cancel(&self) {
        locked(&self.statement).cancel();
    }

    /// Cancelled when the statement that begins now is.
    fn begin(&self) -> CancellationToken {
        let token = self.shared.app.shutdown.child_token();
        *locked(&self.statement) = token.clone();
        token
    }

    /// The session as of now, for a token that is still good.
    async fn session(&self) -> PgWireResult<Arc<SessionContext>> {
        let app = &self.shared.app;
        let token_id = locked(&self.token_id).clone().unwrap_or_default();
        let viewer = auth::viewer_by_id(&app.db, &token_id, app.clock.now_ms())
            .await
            .map_err(|_| fatal("28000", "the token is unknown, expired or revoked"))?;
        let policy = app.desk.policy(viewer.role).map_err(|error| fatal("42501", &error.to_string()))?;
        let mut session = self.session.lock().await;
        let versions = app.lake.versions().await.map_err(|error| internal(&error))?;
        if let Some(known) = &*session
            && known.versions == versions
            && known.role == viewer.role
        {
            return Ok(Arc::clone(&known.context));
        }
        let context = match session.take() {
            Some(known) if known.role == viewer.role => known.context,
            _ => {
                let context = app.lake.empty_session().map_err(|error| internal(&error))?;
                setup_pg_catalog(&context, CATALOG, EmptyContextProvider)
                    .map_err(|error| internal(&error))?;
                context.register_udf(version());
                context.register_udf(to_regtype());
                Arc::new(context)
            }
        };
        let versions = app.lake.fill(&context, &policy).await.map_err(|error| internal(&error))?;
        *session = Some(Session { context: Arc::clone(&context), versions, role: viewer.role });
        Ok(context)
    }

    /// Plans a statement; what needs no plan has none.
    async fn plan<C: ClientInfo + Send + Sync>(&self, client: &C, sql: Sql) -> PgWireResult<Planned> {
        let context = self.session().await?;
        let plan = match kind_of(&sql)? {
            Kind::Question => {
                let statement = DfStatement::Statement(Box::new(sql.clone()));
                Some(query::plan(&context, statement).await.map_err(|error| refusal(&error))?)
            }
            Kind::Setting => {
                SetShowHook.handle_extended_parse_query(&sql, &context, client).await.transpose()?
            }
            Kind::Transaction | Kind::BackToSavepoint | Kind::Forgotten(_) => None,
        };
        Ok(Planned { sql, plan, context })
    }

    /// Answers a planned statement.
    async fn answer<C>(
        &self,
        client: &mut C,
        planned: &Planned,
        parameters: Option<ParamValues>,
        format: &Format,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let Planned { sql, plan, context } = planned;
        match kind_of(sql)? {
            Kind::Transaction => {
                return hooked(TransactionStatementHook.handle_simple_query(sql, context, client).await);
            }
            Kind::Setting => return hooked(SetShowHook.handle_simple_query(sql, context, client).await),
            Kind::BackToSavepoint => return Ok(Response::TransactionStart(Tag::new("ROLLBACK"))),
            Kind::Forgotten(tag) => return Ok(Response::Execution(Tag::new(tag))),
            Kind::Question => {}
        }
        if let Some(Err(aborted)) = TransactionStatementHook.handle_simple_query(sql, context, client).await {
            return Err(aborted);
        }
        let mut plan = plan.clone().ok_or_else(|| internal(&"a question without a plan"))?;
        if let Some(parameters) = parameters {
            plan = plan.replace_params_with_values(&parameters).map_err(|error| refused(&error))?;
        }
        let desk = &self.shared.app.desk;
        let mut limits = desk.limits();
        if let Some(asked) = statement_timeout(client) {
            limits.deadline = limits.deadline.min(asked);
        }
        let cancelled = self.begin();
        let work = async {
            let seat = desk.seat().await.map_err(|error| error_of("53300", &error.to_string()))?;
            let stream = query::stream(context, plan, limits).await.map_err(|error| refusal(&error))?;
            Ok::<_, PgWireError>((seat, stream))
        };
        let (seat, (schema, batches)) = tokio::select! {
            started = work => started?,
            () = cancelled.cancelled() => return Err(PgWireError::QueryCanceled),
        };
        let fields = Arc::new(arrow_schema_to_pg_fields(&schema, format, None)?);
        let row_fields = Arc::clone(&fields);
        // The seat and the work are held by the rows: dropped with them, both end.
        let rows = stream::unfold(Some((batches, cancelled, seat)), |state| async {
            let (mut batches, cancelled, seat) = state?;
            let batch = tokio::select! {
                batch = batches.next() => batch?.map_err(|error| refusal(&error)),
                () = cancelled.cancelled() => Err(PgWireError::QueryCanceled),
            };
            let next = batch.is_ok().then_some((batches, cancelled, seat));
            Some((batch, next))
        })
        .flat_map(move |batch| match batch {
            Ok(batch) => stream::iter(encode_recordbatch(Arc::clone(&row_fields), batch)).boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        });
        Ok(Response::Query(QueryResponse::new(fields, rows)))
    }
}

/// `version()`, by which tools tell what they can ask.
fn version() -> ScalarUDF {
    let text = format!("PostgreSQL 16.6 (Kinora {})", env!("CARGO_PKG_VERSION"));
    let answer = move |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(ScalarValue::Utf8(Some(text.clone()))));
    create_udf("version", Vec::new(), DataType::Utf8, Volatility::Stable, Arc::new(answer))
}

/// `to_regtype(name)`, by which drivers ask for types of extensions: there are none.
fn to_regtype() -> ScalarUDF {
    let answer = |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(ScalarValue::Int32(None)));
    create_udf("to_regtype", vec![DataType::Utf8], DataType::Int32, Volatility::Stable, Arc::new(answer))
}

/// A statement that was planned in a session.
#[derive(Clone)]
pub(crate) struct Planned {
    sql: Sql,
    plan: Option<LogicalPlan>,
    context: Arc<SessionContext>,
}

/// What a statement is, of those that are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Planned, and refused where the plan does not only read.
    Question,
    /// SET of what concerns a client alone, and SHOW.
    Setting,
    /// BEGIN, COMMIT, ROLLBACK: there is nothing to roll back.
    Transaction,
    /// A transaction that failed goes on: there was nothing to undo.
    BackToSavepoint,
    /// What a pool sends to forget a connection's past.
    Forgotten(&'static str),
}

/// Settings of a client that change nothing on the server.
const SETTINGS: [&str; 14] = [
    "application_name",
    "bytea_output",
    "client_encoding",
    "client_min_messages",
    "datestyle",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "extra_float_digits",
    "idle_in_transaction_session_timeout",
    "intervalstyle",
    "lock_timeout",
    "search_path",
    "standard_conforming_strings",
    "statement_timeout",
];

fn kind_of(sql: &Sql) -> PgWireResult<Kind> {
    Ok(match sql {
        Sql::Query(_)
        | Sql::Explain { .. }
        | Sql::ExplainTable { .. }
        | Sql::ShowTables { .. }
        | Sql::ShowColumns { .. } => Kind::Question,
        Sql::ShowVariable { .. } => Kind::Setting,
        Sql::Set(Set::SingleAssignment { variable, .. })
            if SETTINGS.contains(&variable.to_string().to_lowercase().as_str()) =>
        {
            Kind::Setting
        }
        Sql::Set(Set::SetTimeZone { .. } | Set::SetNames { .. } | Set::SetTransaction { .. }) => {
            Kind::Forgotten("SET")
        }
        Sql::Savepoint { .. } => Kind::Forgotten("SAVEPOINT"),
        Sql::ReleaseSavepoint { .. } => Kind::Forgotten("RELEASE"),
        Sql::Rollback { savepoint: Some(_), .. } => Kind::BackToSavepoint,
        Sql::StartTransaction { .. } | Sql::Commit { .. } | Sql::Rollback { .. } => Kind::Transaction,
        Sql::Discard { .. } => Kind::Forgotten("DISCARD ALL"),
        Sql::Deallocate { .. } => Kind::Forgotten("DEALLOCATE"),
        Sql::Set(_) => return Err(error_of("42704", "this setting cannot be changed here")),
        _ => return Err(error_of("0A000", "the lake only answers questions: SELECT, EXPLAIN and SHOW")),
    })
}

fn hooked(answer: Option<PgWireResult<Response>>) -> PgWireResult<Response> {
    answer.unwrap_or_else(|| Err(error_of("0A000", "this statement is not answered")))
}

/// The handlers of one connection, as the wire protocol's library asks for them.
#[derive(Clone)]
struct Handlers(Arc<Connection>);

impl PgWireServerHandlers for Handlers {
    fn simple_query_handler(&self) -> Arc<impl SimpleQueryHandler> {
        Arc::new(self.clone())
    }

    fn extended_query_handler(&self) -> Arc<impl ExtendedQueryHandler> {
        Arc::new(self.clone())
    }

    fn startup_handler(&self) -> Arc<impl StartupHandler> {
        Arc::new(self.clone())
    }

    fn cancel_handler(&self) -> Arc<impl CancelHandler> {
        Arc::new(self.clone())
    }
}

#[async_trait]
impl StartupHandler for Handlers {
    async fn on_startup<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        match message {
            PgWireFrontendMessage::Startup(startup) => {
                if self.0.shared.is_tls && !client.is_secure() {
                    return Err(fatal("28000", "connections need TLS here: use sslmode=require or stricter"));
                }
                protocol_negotiation(client, &startup).await?;
                save_startup_parameters_to_metadata(client, &startup);
                client.set_state(PgWireConnectionState::AuthenticationInProgress);
                let mechanisms = Authentication::SASL(vec!["SCRAM-SHA-256".to_owned()]);
                client.send(PgWireBackendMessage::Authentication(mechanisms)).await?;
            }
            PgWireFrontendMessage::PasswordMessageFamily(message) => {
                let pending = locked(&self.0.challenge).take();
                let Some((token_id, challenge)) = pending else {
                    let first = message.into_sasl_initial_response()?;
                    if first.auth_method != "SCRAM-SHA-256" {
                        return Err(fatal("28000", "the only way to sign in is SCRAM-SHA-256"));
                    }
                    let user = client.metadata().get(METADATA_USER).cloned().unwrap_or_default();
                    let app = &self.0.shared.app;
                    let verifier = auth::verifier_of(&app.db, &user, app.clock.now_ms()).await;
                    let verifier = verifier.map_err(|error| internal(&error))?;
                    let data = first.data.unwrap_or_default();
                    let (answer, challenge) = scram::first(&data, verifier).map_err(wrong_password)?;
                    *locked(&self.0.challenge) = Some((user, challenge));
                    let answer = Authentication::SASLContinue(answer.into());
                    client.send(PgWireBackendMessage::Authentication(answer)).await?;
                    return Ok(());
                };
                let last = message.into_sasl_response()?;
                let answer = challenge.last(&last.data).map_err(wrong_password)?;
                let answer = Authentication::SASLFinal(answer.into());
                client.feed(PgWireBackendMessage::Authentication(answer)).await?;
                *locked(&self.0.token_id) = Some(token_id);
                let (pid, key) = self.0.shared.keys.generate(client);
                locked(&self.0.shared.running).retain(|_, connection| connection.strong_count() > 0);
                locked(&self.0.shared.running).insert((pid, key.to_bytes()), Arc::downgrade(&self.0));
                client.set_pid_and_secret_key(pid, key);
                let mut parameters = DefaultServerParameterProvider::default();
                parameters.is_superuser = false;
                parameters.default_transaction_read_only = true;
                finish_authentication(client, &parameters).await?;
            }
            _ => {}
        }
        Ok(())
    }
}

#[async_trait]
impl CancelHandler for Handlers {
    async fn on_cancel_request(&self, request: CancelRequest) {
        let key = (request.pid, request.secret_key.to_bytes());
        let connection = locked(&self.0.shared.running).get(&key).and_then(Weak::upgrade);
        if let Some(connection) = connection {
            connection.cancel();
        }
    }
}

#[async_trait]
impl SimpleQueryHandler for Handlers {
    async fn do_query<C>(&self, client: &mut C, text: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let statements = PostgresCompatibilityParser::new().parse(text).map_err(|error| refused(&error))?;
        if statements.is_empty() {
            return Ok(vec![Response::EmptyQuery]);
        }
        let mut answers = Vec::new();
        for sql in statements {
            let planned = self.0.plan(client, sql).await?;
            answers.push(self.0.answer(client, &planned, None, &Format::UnifiedText).await?);
        }
        Ok(answers)
    }
}

#[async_trait]
impl ExtendedQueryHandler for Handlers {
    type Statement = Option<Planned>;
    type QueryParser = Self;

    fn query_parser(&self) -> Arc<Self> {
        Arc::new(self.clone())
    }

    async fn do_query<C>(
        &self,
        client: &mut C,
        portal: &Portal<Self::Statement>,
        _max_rows: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let Some(planned) = &portal.statement.statement else { return Ok(Response::EmptyQuery) };
        // The token may have been revoked since the statement was prepared.
        self.0.session().await?;
        let parameters = match &planned.plan {
            Some(plan) => {
                let types = query::parameter_types(plan).map_err(|error| refusal(&error))?;
                let types: Vec<Option<&DataType>> = types.iter().map(Option::as_ref).collect();
                (!types.is_empty()).then(|| deserialize_parameters(portal, &types)).transpose()?
            }
            None => None,
        };
        self.0.answer(client, planned, parameters, &portal.result_column_format).await
    }
}

#[async_trait]
impl QueryParser for Handlers {
    type Statement = Option<Planned>;

    async fn parse_sql<C>(
        &self,
        client: &C,
        text: &str,
        _types: &[Option<Type>],
    ) -> PgWireResult<Option<Self::Statement>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let mut statements =
            PostgresCompatibilityParser::new().parse(text).map_err(|error| refused(&error))?;
        match statements.len() {
            0 => Ok(None),
            1 => Ok(Some(Some(self.0.plan(client, statements.remove(0)).await?))),
            _ => Err(error_of("42601", "a prepared statement is one statement")),
        }
    }

    fn get_parameter_types(&self, statement: &Self::Statement) -> PgWireResult<Vec<Type>> {
        let Some(plan) = statement.as_ref().and_then(|planned| planned.plan.as_ref()) else {
            return Ok(Vec::new());
        };
        let of = |kind: Option<DataType>| kind.map_or(Ok(Type::UNKNOWN), |kind| into_pg_type(&kind));
        let types = query::parameter_types(plan).map_err(|error| refusal(&error))?;
        types.into_iter().map(of).collect()
    }

    fn get_result_schema(
        &self,
        statement: &Self::Statement,
        format: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        match statement.as_ref().and_then(|planned| planned.plan.as_ref()) {
            Some(plan) => arrow_schema_to_pg_fields(
                plan.schema().as_arrow(),
                format.unwrap_or(&Format::UnifiedText),
                None,
            ),
            None => Ok(Vec::new()),
        }
    }
}

/// What the client asked for with `SET statement_timeout`.
fn statement_timeout<C: ClientInfo>(client: &C) -> Option<std::time::Duration> {
    let ms: u64 = client.metadata().get("statement_timeout_ms")?.parse().ok()?;
    (ms > 0).then(|| std::time::Duration::from_millis(ms))
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn said(severity: &str, code: &str, message: &str) -> PgWireError {
    let info = ErrorInfo::new(severity.to_owned(), code.to_owned(), message.to_owned());
    PgWireError::UserError(Box::new(info))
}

fn error_of(code: &str, message: &str) -> PgWireError {
    said("ERROR", code, message)
}

fn fatal(code: &str, message: &str) -> PgWireError {
    said("FATAL", code, message)
}

fn wrong_password(refused: scram::Refused) -> PgWireError {
    tracing::info!(reason = refused.0, "a PostgreSQL sign-in failed");
    fatal("28P01", "the user is a token's id and the password the token: one of them is wrong")
}

fn refused(error: &impl std::fmt::Display) -> PgWireError {
    error_of("42601", error.to_string().lines().next().unwrap_or_default())
}

fn internal(error: &impl std::fmt::Display) -> PgWireError {
    tracing::error!(%error, "a PostgreSQL question failed inside");
    error_of("XX000", "something went wrong on the server; its log says what")
}

fn refusal(error: &QueryError) -> PgWireError {
    let code = match error {
        QueryError::Refused(_) => "42601",
        QueryError::Deadline { .. } => "57014",
        QueryError::Memory => "53200",
        QueryError::TooLarge { .. } | QueryError::TooMany { .. } => "54000",
        _ => "XX000",
    };
    error_of(code, &error.to_string())
}
