//! What a role may see of the lake, as part of every plan.
//!
//! A table is given to a session only through its role's filter and projection, and views are made of what is
//! left: no question can reach around them. A hidden column is there and null, so that tools which list
//! columns go on working.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::functions::regex::expr_fn::regexp_replace;
use datafusion::prelude::{Expr, SessionContext, col, lit};
use kinora_schema::table::Table;

/// E-mail addresses, and addresses of the internet in both notations.
const CONTACTS: &str = r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}|\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b|\b(?:[0-9A-Fa-f]{1,4}:){3,7}[0-9A-Fa-f]{0,4}";

/// What is left out of what a session reads. The default leaves out nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Rows of a table that may be seen, as a condition in SQL.
    pub rows: BTreeMap<String, String>,
    /// Columns of a table that are null.
    pub hidden: BTreeMap<String, Vec<String>>,
    /// Whether e-mail and internet addresses are taken out of texts that people wrote or that were imported.
    pub without_contacts: bool,
}

impl Policy {
    /// Of those who ask questions of everybody's engagement: no refused rows as they were sent, no addresses.
    pub fn analyst() -> Self {
        Self {
            rows: BTreeMap::new(),
            hidden: [("quarantine".to_owned(), vec!["raw".to_owned()])].into(),
            without_contacts: true,
        }
    }

    /// Texts of a table that may hold anything.
    fn texts(table: Table) -> &'static [&'static str] {
        match table {
            Table::Events => &["surface", "policy"],
            Table::Quarantine => &["source", "reason"],
            Table::Users => &["attributes"],
            Table::Videos => &["topic", "caption", "attributes"],
            Table::Histories => &[],
        }
    }

    /// The part of a table that may be seen.
    pub(crate) fn apply(
        &self,
        context: &SessionContext,
        table: Table,
        provider: Arc<dyn TableProvider>,
    ) -> Result<Arc<dyn TableProvider>> {
        let rows = self.rows.get(table.name());
        let hidden = self.hidden.get(table.name()).map_or(&[][..], Vec::as_slice);
        let texts = if self.without_contacts { Self::texts(table) } else { &[] };
        if rows.is_none() && hidden.is_empty() && texts.is_empty() {
            return Ok(provider);
        }
        let schema = provider.schema();
        let mut frame = context.read_table(provider)?;
        if let Some(condition) = rows {
            let condition = frame.parse_sql_expr(condition)?;
            frame = frame.filter(condition)?;
        }
        let column = |field: &arrow::datatypes::FieldRef| -> Result<Expr> {
            let name = field.name();
            if hidden.contains(name) {
                return Ok(lit(ScalarValue::try_from(field.data_type())?).alias(name));
            }
            if texts.contains(&name.as_str()) {
                let text = regexp_replace(col(name), lit(CONTACTS), lit("[address]"), Some(lit("g")));
                return Ok(text.alias(name));
            }
            Ok(col(name))
        };
        let columns: Vec<Expr> = schema.fields().iter().map(column).collect::<Result<_>>()?;
        Ok(frame.select(columns)?.into_view())
    }
}
