//! A version of a table as a list of Parquet files, for engines that do not read Delta tables.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions::datetime::expr_fn::to_timestamp_millis;
use datafusion::prelude::{Expr, SessionContext, cast, col, lit};
use deltalake::DeltaTable;
use kinora_schema::table::Table;

use super::Lake;
use super::files::files_of;

impl Lake {
    /// The rows of an opened version, with the column that directories stand for computed: it is in no file.
    pub(super) async fn listed(
        &self,
        context: &SessionContext,
        table: Table,
        opened: &DeltaTable,
    ) -> Result<Arc<dyn TableProvider>> {
        let schema = table.schema();
        let files =
            files_of(opened, table, false).await.map_err(|error| DataFusionError::External(error.into()))?;
        if files.is_empty() {
            return nothing(context, &schema);
        }
        let directory = self.table_path(table);
        let urls =
            files.iter().map(|file| ListingTableUrl::parse(directory.join(&file.path).to_string_lossy()));
        let in_files: Vec<_> = schema
            .fields()
            .iter()
            .filter(|field| !table.partitions().contains(&field.name().as_str()))
            .cloned()
            .collect();
        let options = ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension("");
        let config = ListingTableConfig::new_with_multi_paths(urls.collect::<Result<_>>()?)
            .with_listing_options(options)
            .with_schema(Arc::new(Schema::new(in_files)));
        let rows = context.read_table(Arc::new(ListingTable::try_new(config)?))?;
        let columns = schema.fields().iter().map(|field| match field.name().as_str() {
            // The one partition: the UTC day of the event.
            "event_date" => {
                let time = to_timestamp_millis(vec![col("event_time_ms")]);
                cast(cast(time, DataType::Date32), DataType::Utf8).alias("event_date")
            }
            name => col(name),
        });
        Ok(rows.select(columns.collect::<Vec<Expr>>())?.into_view())
    }
}

/// No rows, with these columns.
fn nothing(context: &SessionContext, schema: &SchemaRef) -> Result<Arc<dyn TableProvider>> {
    let column = |field: &arrow::datatypes::FieldRef| -> Result<Expr> {
        Ok(lit(ScalarValue::try_from(field.data_type())?).alias(field.name()))
    };
    let columns = schema.fields().iter().map(column).collect::<Result<Vec<Expr>>>()?;
    Ok(context.read_empty()?.select(columns)?.filter(lit(false))?.into_view())
}
