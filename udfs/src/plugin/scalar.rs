//! A plugin without `Vec` arguments as a scalar function.

use arrow::array::new_empty_array;
use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::declaration::Declaration;
use super::entry::Entry;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct PluginScalar {
    declaration: Declaration,
    entry: Entry,
    signature: Signature,
}

impl PluginScalar {
    pub(super) fn new(declaration: Declaration, entry: Entry) -> Self {
        let types = declaration.arguments.iter().map(|argument| argument.data_type()).collect();
        Self { signature: Signature::exact(types, Volatility::Volatile), declaration, entry }
    }
}

impl ScalarUDFImpl for PluginScalar {
    fn name(&self) -> &str {
        &self.declaration.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.declaration.result.data_type())
    }

    /// A null for an argument that is no `Option` gives null without a call of the user's function.
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let result = self.declaration.result.data_type();
        if args.number_rows == 0 {
            return Ok(ColumnarValue::Array(new_empty_array(&result)));
        }
        let arguments = args
            .args
            .into_iter()
            .zip(&self.declaration.arguments)
            .map(|(value, primitive)| {
                Ok((value.into_array_of_size(args.number_rows)?, primitive.data_type()))
            })
            .collect::<Result<Vec<_>>>()?;
        let array = self.entry.call(self.name(), &arguments, args.number_rows, &result)?;
        Ok(ColumnarValue::Array(array))
    }
}
