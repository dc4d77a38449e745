//! `repeat`, `lpad` and `rpad` for sessions that strangers ask: the same functions, refusing to make
//! a text that is longer than [`MAX_BYTES`]. They allocate what a number in the query says, outside
//! of the sessions' memory budget and, where that number is a constant, while the query is planned.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::compute::kernels::length::length;
use arrow::compute::{cast, max};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};
use datafusion::prelude::SessionContext;

/// Longest text that one call makes, in bytes (in characters, where it pads).
const MAX_BYTES: i64 = 4096;

pub(super) fn register(context: &SessionContext) -> Result<()> {
    for name in ["repeat", "lpad", "rpad"] {
        context.register_udf(ScalarUDF::from(Bounded(context.udf(name)?)));
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded(Arc<ScalarUDF>);

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.0.inner().return_type(arguments)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let [text, number, ..] = arguments.args.as_slice() {
            let mut longest = largest(number)?;
            if self.name() == "repeat" {
                longest = longest.saturating_mul(longest_text(text)?);
            }
            if longest > MAX_BYTES {
                return exec_err!("{}() would make a text longer than {MAX_BYTES} bytes", self.name());
            }
        }
        self.0.invoke_with_args(arguments)
    }
}

fn longest_text(texts: &ColumnarValue) -> Result<i64> {
    let lengths = length(texts.to_array(1)?.as_ref())?;
    largest(&ColumnarValue::Array(lengths))
}

fn largest(numbers: &ColumnarValue) -> Result<i64> {
    let numbers = cast(&numbers.to_array(1)?, &DataType::Int64)?;
    Ok(max(numbers.as_primitive::<Int64Type>()).unwrap_or(0))
}
