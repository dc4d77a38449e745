//! SQL over Arrow Flight SQL, for ADBC, JDBC and notebooks: answers travel as Arrow, column by column.
//!
//! The journey of a question: the caller's token is checked (at every call, so a revoked one ends), the statement
//! is planned in a session that has only what the token's role may see, a plan that does anything but read is
//! refused, a ticket is given for it, and whoever brings the ticket, as the same caller, gets the rows in a stream
//! with a deadline and caps that a cancellation, or hanging up, ends.
//! Follows the Flight SQL specification (<https://arrow.apache.org/docs/format/FlightSql.html>); what would change
//! anything is answered with `INVALID_ARGUMENT`, transactions and Substrait with `UNIMPLEMENTED`.

mod metadata;
mod questions;
mod session;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    self, ActionCancelQueryRequest, ActionCancelQueryResult, ActionClosePreparedStatementRequest,
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any,
    CommandPreparedStatementQuery, CommandPreparedStatementUpdate, CommandStatementIngest,
    CommandStatementQuery, CommandStatementUpdate, DoPutPreparedStatementResult, ProstMessageExt, SqlInfo,
    TicketStatementQuery,
};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightDescriptor,
    FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse, IpcMessage, SchemaAsIpc, Ticket,
};
use bytes::Bytes;
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use datafusion_postgres::pgwire::tokio::tokio_rustls::server::TlsStream;
use futures::channel::mpsc;
use futures::{SinkExt as _, Stream, StreamExt as _, TryStreamExt as _, stream};
use kinora_pipelines::query::{self, QueryError};
use prost::Message as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tonic::codegen::tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::MetadataMap;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use self::questions::{Answering, Question, Questions};
use self::session::{Asker, BearerKey};
use super::endpoint::Endpoint;
use crate::app::App;

/// Longest time for the handshake of TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Calls of one connection that are worked on at the same time.
const CALLS_AT_ONCE: usize = 32;
/// Parameters are a row of values; a message that is larger is refused before it is read.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// What clients since Arrow 14 cancel by.
const CANCEL_FLIGHT_INFO: &str = "CancelFlightInfo";

/// Answers connections until the server is asked to stop.
pub(super) async fn serve(app: App, endpoint: Endpoint) {
    let key = match BearerKey::new() {
        Ok(key) => key,
        Err(error) => return tracing::error!(%error, "no randomness for Flight SQL: it stays closed"),
    };
    let stop = app.shutdown.clone();
    let service = Flight { app, key: Arc::new(key), questions: Questions::default() };
    let service = FlightServiceServer::new(service).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let server = Server::builder().concurrency_limit_per_connection(CALLS_AT_ONCE).add_service(service);
    let Endpoint { listener, tls, .. } = endpoint;
    let stopped = stop.clone().cancelled_owned();
    let served = match tls {
        None => server.serve_with_incoming_shutdown(TcpListenerStream::new(listener), stopped).await,
        Some(tls) => {
            let encrypted = encrypted(listener, tls, stop);
            server.serve_with_incoming_shutdown(encrypted, stopped).await
        }
    };
    if let Err(error) = served {
        tracing::error!(%error, "Flight SQL connections ended");
    }
}

type Acceptor = datafusion_postgres::pgwire::tokio::tokio_rustls::TlsAcceptor;

/// Connections once they are encrypted. Each handshake is on its own: a client that says nothing holds up no one.
fn encrypted(
    listener: TcpListener,
    tls: Acceptor,
    stop: CancellationToken,
) -> impl Stream<Item = std::io::Result<TlsStream<TcpStream>>> {
    let (ready, connections) = mpsc::channel(16);
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let socket = match accepted {
                Ok((socket, _)) => socket,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a Flight SQL connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (tls, mut ready) = (tls.clone(), ready.clone());
            tokio::spawn(async move {
                match tokio::time::timeout(HANDSHAKE, tls.accept(socket)).await {
                    Ok(Ok(connection)) => drop(ready.send(Ok(connection)).await),
                    Ok(Err(error)) => tracing::debug!(%error, "a Flight SQL connection was not encrypted"),
                    Err(_) => tracing::debug!("a Flight SQL connection said nothing"),
                }
            });
        }
    });
    connections
}

/// What all calls have in common.
#[derive(Clone)]
struct Flight {
    app: App,
    key: Arc<BearerKey>,
    questions: Questions,
}

type Answer = Result<Response<<Flight as FlightService>::DoGetStream>, Status>;
type Described = Result<Response<FlightInfo>, Status>;

impl Flight {
    async fn asker(&self, metadata: &MetadataMap) -> Result<Asker, Status> {
        session::asker(&self.app, &self.key, metadata).await
    }

    /// The lake as of now, as far as the caller may see it.
    async fn session(&self, asker: &Asker) -> Result<SessionContext, Status> {
        let denied = |error: crate::error::ApiError| Status::permission_denied(error.to_string());
        let policy = self.app.desk.policy(asker.role).map_err(denied)?;
        self.app.lake.session_for(&policy).await.map_err(|error| internal(&error))
    }

    /// Plans a statement and keeps the plan: what is answered later is what was described.
    async fn plan(&self, asker: Asker, text: &str, is_prepared: bool) -> Result<(String, Question), Status> {
        let context = self.session(&asker).await?;
        let plan = query::plan_text(&context, text).await.map_err(|error| refusal(&error))?;
        let question = Question {
            asker,
            context: Arc::new(context),
            plan,
            parameters: None,
            is_prepared,
            stop: self.app.shutdown.child_token(),
        };
        Ok((self.questions.keep(question.clone())?, question))
    }

    /// The rows of a question, as they come.
    async fn rows(&self, handle: &[u8], asker: &Asker) -> Answer {
        let (question, answering) = self.questions.answer(text(handle)?, asker)?;
        let Question { context, mut plan, parameters, stop, .. } = question;
        if let Some(parameters) = &parameters {
            plan = plan.replace_params_with_values(parameters).map_err(|error| wrong(&error))?;
        }
        let desk = &self.app.desk;
        let work = async {
            let seat = desk.seat().await.map_err(|error| Status::resource_exhausted(error.to_string()))?;
            let rows = query::stream(&context, plan, desk.limits()).await.map_err(|error| refusal(&error))?;
            Ok::<_, Status>((seat, rows))
        };
        let (seat, (schema, batches)) = tokio::select! {
            started = work => started?,
            () = stop.cancelled() => return Err(cancelled()),
        };
        let held: (Answering, _) = (answering, seat);
        // The seat, the question and the work are held by the rows: dropped with them, all end.
        let rows = stream::unfold(Some((batches, stop, held)), |state| async {
            let (mut batches, stop, held) = state?;
            let batch = tokio::select! {
                batch = batches.next() => batch?.map_err(|error| refusal(&error)),
                () = stop.cancelled() => Err(cancelled()),
            };
            let next = batch.is_ok().then_some((batches, stop, held));
            Some((batch.map_err(FlightError::from), next))
        });
        Ok(encoded(schema, rows))
    }

    /// The handle of the question that a description was given for.
    fn described(info: &FlightInfo) -> Option<String> {
        let ticket = info.endpoint.first()?.ticket.as_ref()?;
        let command = Any::decode(&*ticket.ticket).ok()?;
        let handle = if let Ok(Some(ticket)) = command.unpack::<TicketStatementQuery>() {
            ticket.statement_handle
        } else {
            command.unpack::<CommandPreparedStatementQuery>().ok()??.prepared_statement_handle
        };
        String::from_utf8(handle.into()).ok()
    }

    fn cancel(&self, info: &FlightInfo, asker: &Asker) -> Result<(), Status> {
        let handle = Self::described(info)
            .ok_or_else(|| Status::invalid_argument("this is no description of a statement"))?;
        self.questions.cancel(&handle, asker)
    }
}

#[tonic::async_trait]
impl FlightSqlService for Flight {
    type FlightService = Self;

    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>>, Status> {
        let bearer = session::sign_in(&self.app, &self.key, request.metadata()).await?;
        let header = format!("Bearer {bearer}").parse().map_err(|error| internal(&error))?;
        let answer = HandshakeResponse { protocol_version: 0, payload: bearer.into() };
        let answers: Pin<Box<dyn Stream<Item = _> + Send>> = Box::pin(stream::iter([Ok(answer)]));
        let mut response = Response::new(answers);
        response.metadata_mut().insert("authorization", header);
        Ok(response)
    }

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Described {
        if query.transaction_id.is_some() {
            return Err(Status::unimplemented("there are no transactions: every answer is of one moment"));
        }
        let asker = self.asker(request.metadata()).await?;
        let (handle, question) = self.plan(asker, &query.query, false).await?;
        let ticket = TicketStatementQuery { statement_handle: handle.into() };
        describe(question.plan.schema().as_arrow(), &ticket, request.into_inner())
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Described {
        let asker = self.asker(request.metadata()).await?;
        let question = self.questions.get(text(&query.prepared_statement_handle)?, &asker)?;
        describe(question.plan.schema().as_arrow(), &query, request.into_inner())
    }

    async fn do_get_statement(&self, ticket: TicketStatementQuery, request: Request<Ticket>) -> Answer {
        let asker = self.asker(request.metadata()).await?;
        self.rows(&ticket.statement_handle, &asker).await
    }

    async fn do_get_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<Ticket>,
    ) -> Answer {
        let asker = self.asker(request.metadata()).await?;
        self.rows(&query.prepared_statement_handle, &asker).await
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let asker = self.asker(request.metadata()).await?;
        let (handle, question) = self.plan(asker, &query.query, true).await?;
        let parameters = parameter_schema(&question.plan)?;
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle.into(),
            dataset_schema: as_ipc(&sent(question.plan.schema().as_arrow()))?,
            parameter_schema: as_ipc(&parameters)?,
        })
    }

    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let asker = self.asker(request.metadata()).await?;
        let data = request.into_inner().map_err(FlightError::from);
        let batches: Vec<RecordBatch> =
            FlightRecordBatchStream::new_from_flight_data(data).try_collect().await?;
        let mut rows = batches.iter().filter(|batch| batch.num_rows() > 0);
        let bound = match (rows.next(), rows.next()) {
            (Some(batch), None) if batch.num_rows() == 1 => {
                let values: Result<Vec<ScalarValue>, _> =
                    batch.columns().iter().map(|column| ScalarValue::try_from_array(column, 0)).collect();
                ParamValues::from(values.map_err(|error| wrong(&error))?)
            }
            _ => return Err(Status::invalid_argument("parameters are one row of values")),
        };
        self.questions.bind(text(&query.prepared_statement_handle)?, &asker, bound)?;
        Ok(DoPutPreparedStatementResult { prepared_statement_handle: None })
    }

    async fn do_action_close_prepared_statement(
        &self,
        query: ActionClosePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<(), Status> {
        let asker = self.asker(request.metadata()).await?;
        self.questions.close(text(&query.prepared_statement_handle)?, &asker)
    }

    async fn do_action_cancel_query(
        &self,
        query: ActionCancelQueryRequest,
        request: Request<Action>,
    ) -> Result<ActionCancelQueryResult, Status> {
        let asker = self.asker(request.metadata()).await?;
        let info = FlightInfo::decode(query.info).map_err(|error| wrong(&error))?;
        self.cancel(&info, &asker)?;
        // The two enumerations have the same values, and one of them is not public.
        Ok(ActionCancelQueryResult { result: CancelStatus::Cancelled.into() })
    }

    async fn do_action_fallback(
        &self,
        request: Request<Action>,
    ) -> Result<Response<<Self as FlightService>::DoActionStream>, Status> {
        let asker = self.asker(request.metadata()).await?;
        let action = request.into_inner();
        if action.r#type != CANCEL_FLIGHT_INFO {
            let problem = format!("there is no action `{}`", action.r#type.escape_debug());
            return Err(Status::invalid_argument(problem));
        }
        let request = CancelFlightInfoRequest::decode(action.body).map_err(|error| wrong(&error))?;
        self.cancel(&request.info.unwrap_or_default(), &asker)?;
        let result = CancelFlightInfoResult::new(CancelStatus::Cancelled);
        let body = result.encode_to_vec().into();
        Ok(Response::new(Box::pin(stream::iter([Ok(arrow_flight::Result { body })]))))
    }

    async fn list_custom_actions(&self) -> Option<Vec<Result<ActionType, Status>>> {
        let description = "Ends the answer that a description was given for.".to_owned();
        Some(vec![Ok(ActionType { r#type: CANCEL_FLIGHT_INFO.to_owned(), description })])
    }

    async fn do_put_statement_update(
        &self,
        _: CommandStatementUpdate,
        _: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(read_only())
    }

    async fn do_put_statement_ingest(
        &self,
        _: CommandStatementIngest,
        _: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(read_only())
    }

    async fn do_put_prepared_statement_update(
        &self,
        _: CommandPreparedStatementUpdate,
        _: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(read_only())
    }

    async fn get_flight_info_catalogs(
        &self,
        query: sql::CommandGetCatalogs,
        request: Request<FlightDescriptor>,
    ) -> Described {
        self.asker(request.metadata()).await?;
        describe(&query.into_builder().schema(), &query, request.into_inner())
    }

    async fn do_get_catalogs(&self, query: sql::CommandGetCatalogs, request: Request<Ticket>) -> Answer {
        self.asker(request.metadata()).await?;
        one(metadata::catalogs(query)?)
    }

    async fn get_flight_info_schemas(
        &self,
        query: sql::CommandGetDbSchemas,
        request: Request<FlightDescriptor>,
    ) -> Described {
        self.asker(request.metadata()).await?;
        describe(&query.clone().into_builder().schema(), &query, request.into_inner())
    }

    async fn do_get_schemas(&self, query: sql::CommandGetDbSchemas, request: Request<Ticket>) -> Answer {
        self.asker(request.metadata()).await?;
        one(metadata::schemas(query)?)
    }

    async fn get_flight_info_tables(
        &self,
        query: sql::CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> Described {
        self.asker(request.metadata()).await?;
        describe(&query.clone().into_builder().schema(), &query, request.into_inner())
    }

    async fn do_get_tables(&self, query: sql::CommandGetTables, request: Request<Ticket>) -> Answer {
        let asker = self.asker(request.metadata()).await?;
        one(metadata::tables(query, &self.session(&asker).await?).await?)
    }

    async fn get_flight_info_table_types(
        &self,
        query: sql::CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Described {
        self.asker(request.metadata()).await?;
        describe(&query.into_builder().schema(), &query, request.into_inner())
    }

    async fn do_get_table_types(&self, query: sql::CommandGetTableTypes, request: Request<Ticket>) -> Answer {
        self.asker(request.metadata()).await?;
        one(metadata::table_types(query)?)
    }

    async fn get_flight_info_sql_info(
        &self,
        query: sql::CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> Described {
        self.asker(request.metadata()).await?;
        describe(&query.clone().into_builder(&metadata::SERVER).schema(), &query, request.into_inner())
    }

    async fn do_get_sql_info(&self, query: sql::CommandGetSqlInfo, request: Request<Ticket>) -> Answer {
        self.asker(request.metadata()).await?;
        one(query.into_builder(&metadata::SERVER).build()?)
    }

    async fn get_flight_info_xdbc_type_info(
        &self,
        query: sql::CommandGetXdbcTypeInfo,
        request: Request<FlightDescriptor>,
    ) -> Described {
        self.asker(request.metadata()).await?;
        describe(&query.into_builder(&metadata::TYPES).schema(), &query, request.into_inner())
    }

    async fn do_get_xdbc_type_info(
        &self,
        query: sql::CommandGetXdbcTypeInfo,
        request: Request<Ticket>,
    ) -> Answer {
        self.asker(request.metadata()).await?;
        one(query.into_builder(&metadata::TYPES).build()?)
    }

    async fn get_flight_info_primary_keys(
        &self,
        query: sql::CommandGetPrimaryKeys,
        request: Request<FlightDescriptor>,
    ) -> Described {
        self.asker(request.metadata()).await?;
        describe(&metadata::primary_keys().schema(), &query, request.into_inner())
    }

    async fn do_get_primary_keys(&self, _: sql::CommandGetPrimaryKeys, request: Request<Ticket>) -> Answer {
        self.asker(request.metadata()).await?;
        one(metadata::primary_keys())
    }

    async fn get_flight_info_exported_keys(
        &self,
        query: sql::CommandGetExportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Described {
        self.asker(request.metadata()).await?;
        describe(&metadata::foreign_keys().schema(), &query, request.into_inner())
    }

    async fn do_get_exported_keys(&self, _: sql::CommandGetExportedKeys, request: Request<Ticket>) -> Answer {
        self.asker(request.metadata()).await?;
        one(metadata::foreign_keys())
    }

    async fn get_flight_info_imported_keys(
        &self,
        query: sql::CommandGetImportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Described {
        self.asker(request.metadata()).await?;
        describe(&metadata::foreign_keys().schema(), &query, request.into_inner())
    }

    async fn do_get_imported_keys(&self, _: sql::CommandGetImportedKeys, request: Request<Ticket>) -> Answer {
        self.asker(request.metadata()).await?;
        one(metadata::foreign_keys())
    }

    async fn get_flight_info_cross_reference(
        &self,
        query: sql::CommandGetCrossReference,
        request: Request<FlightDescriptor>,
    ) -> Described {
        self.asker(request.metadata()).await?;
        describe(&metadata::foreign_keys().schema(), &query, request.into_inner())
    }

    async fn do_get_cross_reference(
        &self,
        _: sql::CommandGetCrossReference,
        request: Request<Ticket>,
    ) -> Answer {
        self.asker(request.metadata()).await?;
        one(metadata::foreign_keys())
    }

    async fn register_sql_info(&self, _: i32, _: &SqlInfo) {}
}

/// The parameters of a plan, in their order; of a type that the plan does not tell, nothing.
fn parameter_schema(plan: &LogicalPlan) -> Result<Schema, Status> {
    let types = query::parameter_types(plan).map_err(|error| refusal(&error))?;
    let field = |(at, data_type): (usize, Option<DataType>)| {
        Field::new(format!("${}", at + 1), data_type.unwrap_or(DataType::Null), true)
    };
    Ok(Schema::new(types.into_iter().enumerate().map(field).collect::<Vec<_>>()))
}

/// The columns as they travel: clients hold the rows to what was described.
fn sent(schema: &Schema) -> Schema {
    let encoder = FlightDataEncoderBuilder::new().with_schema(Arc::new(schema.clone()));
    let encoded = encoder.build(stream::empty());
    encoded.known_schema().map_or_else(|| schema.clone(), |schema| schema.as_ref().clone())
}

/// A description with one ticket, which is brought back for the rows.
fn describe(schema: &Schema, ticket: &impl ProstMessageExt, descriptor: FlightDescriptor) -> Described {
    let ticket = Ticket::new(ticket.as_any().encode_to_vec());
    let info = FlightInfo::new()
        .try_with_schema(&sent(schema))
        .map_err(|error| internal(&error))?
        .with_endpoint(FlightEndpoint::new().with_ticket(ticket))
        .with_descriptor(descriptor);
    Ok(Response::new(info))
}

fn encoded(
    schema: SchemaRef,
    rows: impl Stream<Item = Result<RecordBatch, FlightError>> + Send + 'static,
) -> Response<<Flight as FlightService>::DoGetStream> {
    let data = FlightDataEncoderBuilder::new().with_schema(schema).build(rows).map_err(Status::from);
    Response::new(Box::pin(data))
}

/// An answer that is known already.
#[expect(clippy::unnecessary_wraps, reason = "what the trait's methods return")]
fn one(batch: RecordBatch) -> Answer {
    Ok(encoded(batch.schema(), stream::iter([Ok(batch)])))
}

fn as_ipc(schema: &Schema) -> Result<Bytes, Status> {
    let options = arrow::ipc::writer::IpcWriteOptions::default();
    let IpcMessage(bytes) = SchemaAsIpc::new(schema, &options)
        .try_into()
        .map_err(|error: arrow::error::ArrowError| internal(&error))?;
    Ok(bytes)
}

fn text(handle: &[u8]) -> Result<&str, Status> {
    str::from_utf8(handle).map_err(|_| Status::invalid_argument("this is no handle of a statement"))
}

fn read_only() -> Status {
    Status::invalid_argument("the lake only answers questions: SELECT, EXPLAIN and SHOW")
}

fn cancelled() -> Status {
    Status::cancelled("the question was cancelled")
}

fn wrong(error: &impl std::fmt::Display) -> Status {
    Status::invalid_argument(error.to_string().lines().next().unwrap_or_default())
}

fn internal(error: &impl std::fmt::Display) -> Status {
    tracing::error!(%error, "a Flight SQL question failed inside");
    Status::internal("something went wrong on the server; its log says what")
}

fn refusal(error: &QueryError) -> Status {
    let detail = error.to_string();
    match error {
        QueryError::Refused(_) | QueryError::Failed(_) => Status::invalid_argument(detail),
        QueryError::Deadline { .. } => Status::deadline_exceeded(detail),
        QueryError::Memory | QueryError::TooLarge { .. } | QueryError::TooMany { .. } => {
            Status::resource_exhausted(detail)
        }
        _ => internal(error),
    }
}
