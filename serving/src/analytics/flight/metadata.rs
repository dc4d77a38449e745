//! What clients of Flight SQL ask about the server itself: its tables, its types, and what it can do.

use std::sync::LazyLock;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::error::Result;
use arrow_flight::sql::metadata::{
    SqlInfoData, SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder,
};
use arrow_flight::sql::{
    CommandGetCatalogs, CommandGetDbSchemas, CommandGetTableTypes, CommandGetTables, Nullable, Searchable,
    SqlInfo, SqlSupportedTransaction, XdbcDataType,
};
use datafusion::catalog::SchemaProvider;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use kinora_pipelines::query::CATALOG;
use kinora_schema::table::Table;

/// The schema that the lake's tables and models are in.
const SCHEMA: &str = "public";

/// What the server is and can do.
pub(super) static SERVER: LazyLock<SqlInfoData> = LazyLock::new(|| {
    let mut infos = SqlInfoDataBuilder::new();
    infos.append(SqlInfo::FlightSqlServerName, "Kinora");
    infos.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    infos.append(SqlInfo::FlightSqlServerArrowVersion, "1.3");
    infos.append(SqlInfo::FlightSqlServerReadOnly, true);
    infos.append(SqlInfo::FlightSqlServerSql, true);
    infos.append(SqlInfo::FlightSqlServerSubstrait, false);
    infos.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::None as i32);
    infos.append(SqlInfo::FlightSqlServerCancel, true);
    infos.append(SqlInfo::FlightSqlServerBulkIngestion, false);
    infos.append(SqlInfo::SqlDdlCatalog, false);
    infos.append(SqlInfo::SqlDdlSchema, false);
    infos.append(SqlInfo::SqlDdlTable, false);
    infos.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    infos.build().unwrap_or_else(|error| unreachable!("constants: {error}"))
});

/// The types of the lake's columns.
pub(super) static TYPES: LazyLock<XdbcTypeInfoData> = LazyLock::new(|| {
    let types = [
        ("BOOLEAN", XdbcDataType::XdbcBit, 1, None),
        ("INT", XdbcDataType::XdbcInteger, 32, Some(2)),
        ("BIGINT", XdbcDataType::XdbcBigint, 64, Some(2)),
        ("REAL", XdbcDataType::XdbcReal, 24, Some(2)),
        ("DOUBLE", XdbcDataType::XdbcDouble, 53, Some(2)),
        ("VARCHAR", XdbcDataType::XdbcVarchar, i32::MAX, None),
        ("DATE", XdbcDataType::XdbcDate, 10, None),
        ("TIMESTAMP", XdbcDataType::XdbcTimestamp, 29, None),
    ];
    let mut infos = XdbcTypeInfoDataBuilder::new();
    for (name, data_type, size, radix) in types {
        let quote = matches!(data_type, XdbcDataType::XdbcVarchar).then(|| "'".to_owned());
        infos.append(XdbcTypeInfo {
            type_name: name.to_owned(),
            data_type,
            column_size: Some(size),
            literal_prefix: quote.clone(),
            literal_suffix: quote,
            create_params: None,
            nullable: Nullable::NullabilityNullable,
            case_sensitive: true,
            searchable: Searchable::Full,
            unsigned_attribute: radix.map(|_| false),
            fixed_prec_scale: false,
            auto_increment: None,
            local_type_name: Some(name.to_owned()),
            minimum_scale: None,
            maximum_scale: None,
            sql_data_type: data_type,
            datetime_subcode: None,
            num_prec_radix: radix,
            interval_precision: None,
        });
    }
    infos.build().unwrap_or_else(|error| unreachable!("constants: {error}"))
});

pub(super) fn catalogs(query: CommandGetCatalogs) -> Result<RecordBatch> {
    let mut builder = query.into_builder();
    builder.append(CATALOG);
    builder.build()
}

pub(super) fn schemas(query: CommandGetDbSchemas) -> Result<RecordBatch> {
    let mut builder = query.into_builder();
    builder.append(CATALOG, SCHEMA);
    builder.build()
}

pub(super) fn table_types(query: CommandGetTableTypes) -> Result<RecordBatch> {
    let mut builder = query.into_builder();
    builder.append("TABLE");
    builder.append("VIEW");
    builder.build()
}

/// The tables and models of a session, with their columns where those are asked for.
pub(super) async fn tables(query: CommandGetTables, context: &SessionContext) -> Result<RecordBatch> {
    let mut builder = query.into_builder();
    let schema = context.catalog(CATALOG).and_then(|catalog| catalog.schema(SCHEMA));
    for (name, columns) in of_schema(schema).await.map_err(external)? {
        let kind = if Table::ALL.iter().any(|table| table.name() == name) { "TABLE" } else { "VIEW" };
        builder.append(CATALOG, SCHEMA, name, kind, &columns)?;
    }
    builder.build()
}

async fn of_schema(
    schema: Option<std::sync::Arc<dyn SchemaProvider>>,
) -> std::result::Result<Vec<(String, SchemaRef)>, DataFusionError> {
    let mut found = Vec::new();
    let Some(schema) = schema else { return Ok(found) };
    for name in schema.table_names() {
        if let Some(table) = schema.table(&name).await? {
            found.push((name, table.schema()));
        }
    }
    Ok(found)
}

fn external(error: DataFusionError) -> arrow_flight::error::FlightError {
    arrow_flight::error::FlightError::from_external_error(Box::new(error))
}

/// The columns of an answer about primary keys: the lake has none.
pub(super) fn primary_keys() -> RecordBatch {
    RecordBatch::new_empty(
        Schema::new(vec![
            text("catalog_name", true),
            text("db_schema_name", true),
            text("table_name", false),
            text("column_name", false),
            text("key_name", true),
            Field::new("key_sequence", DataType::Int32, false),
        ])
        .into(),
    )
}

/// The columns of an answer about foreign keys: the lake has none.
pub(super) fn foreign_keys() -> RecordBatch {
    let of_table = |side: &str| {
        let name = |what: &str| format!("{side}_{what}");
        [
            Field::new(name("catalog_name"), DataType::Utf8, true),
            Field::new(name("db_schema_name"), DataType::Utf8, true),
            Field::new(name("table_name"), DataType::Utf8, false),
            Field::new(name("column_name"), DataType::Utf8, false),
        ]
    };
    let mut fields: Vec<Field> = of_table("pk").into();
    fields.extend(of_table("fk"));
    fields.extend([
        Field::new("key_sequence", DataType::Int32, false),
        text("fk_key_name", true),
        text("pk_key_name", true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ]);
    RecordBatch::new_empty(Schema::new(fields).into())
}

fn text(name: &str, is_nullable: bool) -> Field {
    Field::new(name, DataType::Utf8, is_nullable)
}
