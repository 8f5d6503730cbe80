//! A plugin with `Vec` arguments as an aggregate function: values are kept until the group is
//! complete, then the plugin is called once with all of them. The state is one list per argument,
//! as in Arroyo.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveBuilder};
use arrow::compute::cast;
use arrow::datatypes::{ArrowPrimitiveType, DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{exec_err, not_impl_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use super::declaration::{Declaration, Primitive};
use super::entry::Entry;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct PluginAggregate {
    declaration: Arc<Declaration>,
    entry: Entry,
    signature: Signature,
}

impl PluginAggregate {
    pub(super) fn new(declaration: Declaration, entry: Entry) -> Self {
        let types = declaration.arguments.iter().map(|argument| argument.data_type()).collect();
        Self {
            signature: Signature::exact(types, Volatility::Volatile),
            declaration: Arc::new(declaration),
            entry,
        }
    }
}

impl AggregateUDFImpl for PluginAggregate {
    fn name(&self) -> &str {
        &self.declaration.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.declaration.result.data_type())
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let name = self.name();
        if args.is_distinct {
            return not_impl_err!(
                "{name}(DISTINCT ...): take the distinct rows in a subquery first"
            );
        }
        // Merging the lists of two partial states would lose the order without notice.
        if !args.order_bys.is_empty() {
            return not_impl_err!(
                "{name}(... ORDER BY ...): pass the sort key as an argument instead"
            );
        }
        Ok(Box::new(Values::new(Arc::clone(&self.declaration), self.entry)))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let fields = self.declaration.arguments.iter().enumerate().map(|(index, argument)| {
            let name = format_state_name(args.name, &format!("values_{index}"));
            let item = Field::new_list_field(argument.data_type(), true);
            Arc::new(Field::new(name, DataType::List(Arc::new(item)), true))
        });
        Ok(fields.collect())
    }
}

/// The values of one group, a column per argument. It grows with the group; DataFusion's memory
/// pool bounds it.
#[derive(Debug)]
struct Values {
    declaration: Arc<Declaration>,
    entry: Entry,
    columns: Vec<Column>,
}

/// Copies values out of the batches, so that a few of them do not keep whole batches alive.
#[derive(Debug)]
enum Column {
    Int64(PrimitiveBuilder<Int64Type>),
    Float64(PrimitiveBuilder<Float64Type>),
}

impl Values {
    fn new(declaration: Arc<Declaration>, entry: Entry) -> Self {
        // There may be as many of these as there are groups, so none reserves memory up front.
        let columns = declaration.arguments.iter().map(|argument| match argument {
            Primitive::Int64 => Column::Int64(PrimitiveBuilder::with_capacity(0)),
            Primitive::Float64 => Column::Float64(PrimitiveBuilder::with_capacity(0)),
            Primitive::Utf8 => unreachable!("a declaration has no `Vec` of strings"),
        });
        Self { columns: columns.collect(), declaration, entry }
    }
}

impl Column {
    fn append(&mut self, array: &ArrayRef) -> Result<()> {
        match self {
            Column::Int64(builder) => append(builder, array),
            Column::Float64(builder) => append(builder, array),
        }
    }

    /// A copy: an accumulator may be asked again after more rows.
    fn to_array(&self) -> ArrayRef {
        match self {
            Column::Int64(builder) => Arc::new(builder.finish_cloned()),
            Column::Float64(builder) => Arc::new(builder.finish_cloned()),
        }
    }

    fn size(&self) -> usize {
        match self {
            Column::Int64(builder) => {
                builder.capacity() * size_of::<i64>() + builder.validity_capacity()
            }
            Column::Float64(builder) => {
                builder.capacity() * size_of::<f64>() + builder.validity_capacity()
            }
        }
    }
}

fn append<T: ArrowPrimitiveType>(
    builder: &mut PrimitiveBuilder<T>,
    array: &ArrayRef,
) -> Result<()> {
    if array.data_type() == &T::DATA_TYPE {
        builder.append_array(array.as_primitive());
    } else {
        builder.append_array(cast(array, &T::DATA_TYPE)?.as_primitive());
    }
    Ok(())
}

impl Accumulator for Values {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for (column, array) in self.columns.iter_mut().zip(values) {
            column.append(array)?;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let arguments: Vec<(ArrayRef, DataType)> = self
            .columns
            .iter()
            .zip(&self.declaration.arguments)
            .map(|(column, argument)| (column.to_array(), argument.data_type()))
            .collect();
        let result = self.declaration.result.data_type();
        let array = self.entry.call(&self.declaration.name, &arguments, 1, &result)?;
        ScalarValue::try_from_array(&array, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self)
            + self.columns.capacity() * size_of::<Column>()
            + self.columns.iter().map(Column::size).sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let lists = self.columns.iter().map(|column| {
            SingleRowListArrayBuilder::new(column.to_array())
                .with_nullable(true)
                .build_list_scalar()
        });
        Ok(lists.collect())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for (column, state) in self.columns.iter_mut().zip(states) {
            let Some(lists) = state.as_list_opt::<i32>() else {
                return exec_err!(
                    "state of {} is {}, not a list",
                    self.declaration.name,
                    state.data_type()
                );
            };
            for values in lists.iter().flatten() {
                column.append(&values)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::declaration::Form;
    use crate::plugin::entry::{Arguments, Exchange, Outcome};
    use arrow::array::{Float64Array, Int64Array};
    use arrow::ffi::{from_ffi, to_ffi};

    /// What `#[udf] fn weighted(w: Vec<Option<i64>>, v: Vec<Option<f64>>) -> f64` compiles to: the
    /// sum of the products, a null as 0; it panics at a negative weight.
    extern "C-unwind" fn weighted(arguments: Arguments) -> Outcome {
        let Arguments { pointer, length, capacity, .. } = arguments;
        // SAFETY: the caller gives the list away, allocated as `Vec` would have it.
        let exchanges = unsafe { Vec::from_raw_parts(pointer, length, capacity) };
        let columns: Vec<ArrayRef> = exchanges
            .into_iter()
            // SAFETY: both were exported together.
            .map(|Exchange(array, schema)| unsafe { from_ffi(array, &schema) }.unwrap())
            .map(arrow::array::make_array)
            .collect();
        let weights = columns[0].as_primitive::<Int64Type>().iter();
        if weights.clone().flatten().any(|weight| weight < 0) {
            return Outcome::Err;
        }
        let values = columns[1].as_primitive::<Float64Type>().iter();
        let products = weights.zip(values).filter_map(|(w, v)| w.zip(v));
        let sum: f64 = products.map(|(w, v)| w as f64 * v).sum();
        let (array, schema) = to_ffi(&Float64Array::from(vec![sum]).to_data()).unwrap();
        Outcome::Ok(Exchange(array, schema))
    }

    fn values() -> Values {
        let declaration = Declaration {
            name: "weighted".to_owned(),
            form: Form::Aggregate,
            arguments: vec![Primitive::Int64, Primitive::Float64],
            result: Primitive::Float64,
        };
        Values::new(Arc::new(declaration), Entry::new(weighted))
    }

    fn columns(weights: &[Option<i64>], values: &[Option<f64>]) -> [ArrayRef; 2] {
        [
            Arc::new(Int64Array::from(weights.to_vec())),
            Arc::new(Float64Array::from(values.to_vec())),
        ]
    }

    #[test]
    fn merged_states_equal_one_pass() {
        let first = columns(&[Some(1), None, Some(3)], &[Some(0.5), Some(9.0), None]);
        let second = columns(&[Some(10)], &[Some(2.0)]);
        let mut merged = values();
        for part in [&first[..], &[], &second[..]] {
            let mut partial = values();
            partial.update_batch(part).unwrap();
            let state: Vec<ArrayRef> =
                partial.state().unwrap().iter().map(|list| list.to_array().unwrap()).collect();
            merged.merge_batch(&state).unwrap();
        }
        assert_eq!(merged.evaluate().unwrap(), ScalarValue::Float64(Some(20.5)));
    }

    #[test]
    fn an_answer_keeps_the_values_for_more_rows() {
        let mut values = values();
        values.update_batch(&columns(&[Some(2)], &[Some(3.0)])).unwrap();
        let size = values.size();
        assert_eq!(values.evaluate().unwrap(), ScalarValue::Float64(Some(6.0)));
        values.update_batch(&columns(&[Some(1); 5000], &[Some(1.0); 5000])).unwrap();
        assert_eq!(values.evaluate().unwrap(), ScalarValue::Float64(Some(5006.0)));
        assert!(values.size() > size + 5000 * 8, "{} {size}", values.size());
    }

    #[test]
    fn a_panic_is_an_error() {
        let mut values = values();
        values.update_batch(&columns(&[Some(-1)], &[Some(1.0)])).unwrap();
        let error = values.evaluate().unwrap_err().to_string();
        assert!(error.contains("the plugin `weighted` panicked"), "{error}");
    }

    #[test]
    fn state_fields_are_the_types_of_the_state() {
        let udaf =
            PluginAggregate::new(values().declaration.as_ref().clone(), Entry::new(weighted));
        let args = StateFieldsArgs {
            name: "weighted",
            input_fields: &[],
            return_field: Arc::new(Field::new("weighted", DataType::Float64, true)),
            ordering_fields: &[],
            is_distinct: false,
        };
        let fields = udaf.state_fields(args).unwrap();
        let types: Vec<DataType> = fields.iter().map(|field| field.data_type().clone()).collect();
        let state = values().state().unwrap();
        assert_eq!(types, state.iter().map(ScalarValue::data_type).collect::<Vec<_>>());
    }
}
