//! Functions that remember: `f(args) OVER (PARTITION BY series ORDER BY window)` on a stream.
//!
//! A stateful function keeps a small state per series and answers each row at once. DataFusion
//! plans it as a window function; the stream engine runs it through [`Stateful`].

use std::any::Any;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, Float64Array, Int64Array,
    StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl,
};

/// Rows handed to a stateful function, in the order of their windows within each series.
pub struct Rows<'a> {
    /// Dense series number of each row.
    pub series: &'a [u32],
    /// All series numbers are below this.
    pub series_count: usize,
    /// Start of each row's window, nanoseconds since the epoch; its time where it has no window.
    pub start: &'a [i64],
    /// Width of each row's window in nanoseconds, 0 where it has none.
    pub width: &'a [i64],
    /// Arguments, already of the declared types.
    pub args: &'a [ArrayRef],
}

impl Rows<'_> {
    /// Argument number `at`, of numbers.
    pub(crate) fn numbers(&self, at: usize) -> Numbers<'_> {
        Numbers(self.args[at].as_primitive())
    }

    /// Argument number `at`, of moments, in nanoseconds since the epoch; `None` where it was left
    /// out.
    pub(crate) fn times(&self, at: usize) -> Result<Option<Times>> {
        let times = self.args.get(at).map(|times| cast(times, &DataType::Int64)).transpose()?;
        Ok(times.map(|times| Times(times.as_primitive().clone())))
    }

    /// Argument number `at`, of texts; `None` where it was left out.
    pub(crate) fn texts(&self, at: usize) -> Result<Option<Texts>> {
        let texts = self.args.get(at).map(|texts| cast(texts, &DataType::Utf8)).transpose()?;
        Ok(texts.map(|texts| Texts(texts.as_string().clone())))
    }

    /// Argument number `at`, of truth values; `None` where it was left out.
    pub(crate) fn flags(&self, at: usize) -> Option<Flags<'_>> {
        self.args.get(at).map(|flags| Flags(flags.as_boolean()))
    }

    /// Row numbers by the end of their window: one moment, as windows close by their ends.
    pub fn moments(&self) -> BTreeMap<i64, Vec<usize>> {
        let mut moments: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for (row, (start, width)) in self.start.iter().zip(self.width).enumerate() {
            moments.entry(start.saturating_add(*width)).or_default().push(row);
        }
        moments
    }

    /// Row numbers by the start of their window and their series.
    pub fn windows(&self) -> BTreeMap<(i64, u32), Vec<usize>> {
        let mut windows: BTreeMap<(i64, u32), Vec<usize>> = BTreeMap::new();
        for (row, series) in self.series.iter().enumerate() {
            windows.entry((self.start[row], *series)).or_default().push(row);
        }
        windows
    }
}

/// The states of all series of one call of a stateful function.
pub trait Stateful: Send {
    /// Advances each row's series and returns one value per row.
    fn update(&mut self, rows: &Rows<'_>) -> Result<ArrayRef>;

    /// Forgets the series for which `keep` is false; the others are numbered anew, in order.
    fn retain(&mut self, keep: &[bool]);

    /// The state of every series, by series number; what `restore` reads back exactly.
    fn save(&self) -> BinaryArray;

    fn restore(&mut self, states: &BinaryArray) -> Result<()>;
}

/// A column of numbers.
pub(crate) struct Numbers<'a>(&'a Float64Array);

impl Numbers<'_> {
    /// A null says nothing about its series, like NaN.
    pub(crate) fn of(&self, row: usize) -> f64 {
        if self.0.is_valid(row) { self.0.value(row) } else { f64::NAN }
    }
}

/// A column of truth values.
pub(crate) struct Flags<'a>(&'a BooleanArray);

impl Flags<'_> {
    pub(crate) fn of(&self, row: usize) -> Option<bool> {
        self.0.is_valid(row).then(|| self.0.value(row))
    }
}

/// A column of moments.
pub(crate) struct Times(Int64Array);

impl Times {
    pub(crate) fn of(&self, row: usize) -> Option<i64> {
        self.0.is_valid(row).then(|| self.0.value(row))
    }
}

/// A column of texts.
pub(crate) struct Texts(StringArray);

impl Texts {
    pub(crate) fn of(&self, row: usize) -> Option<&str> {
        self.0.is_valid(row).then(|| self.0.value(row))
    }
}

/// The state of one series, by default of one that has had no row yet, as a checkpoint keeps it.
pub(crate) trait Saved: Default + Send {
    /// Appends the state to `out`.
    fn write(&self, out: &mut Vec<u8>);

    /// What `write` wrote, or `None` if the bytes are damaged or of another version.
    fn read(bytes: &[u8]) -> Option<Self>;
}

/// States that have these as functions of their own, for whoever embeds them without SQL.
macro_rules! saved_by_themselves {
    ($($state:ty),+ $(,)?) => {
        $(impl Saved for $state {
            fn write(&self, out: &mut Vec<u8>) {
                self.write(out);
            }

            fn read(bytes: &[u8]) -> Option<Self> {
                Self::read(bytes)
            }
        })+
    };
}

saved_by_themselves!(
    crate::absence::State,
    crate::alerting::State,
    crate::count_anomaly::State,
    crate::counter_rate::State,
    crate::due::State,
    crate::highest_before::State,
    crate::metric_anomaly::State,
    crate::mix_shift::State,
);

/// How the rows of all series advance the state of each.
pub(crate) trait Member: Saved {
    /// What all series of a call know together; `()` where each is alone.
    type Shared: Shared;

    /// Advances each row's series, of which there is a state, and returns one value per row.
    fn advance(states: &mut [Self], shared: &mut Self::Shared, rows: &Rows<'_>)
    -> Result<ArrayRef>;
}

/// What the series of a call have in common.
pub(crate) trait Shared: Default + Send {
    /// Appends the state to `out`.
    fn write(&self, out: &mut Vec<u8>);

    /// What `write` wrote, and the bytes behind it; `None` if they are damaged or of another
    /// version.
    fn read(bytes: &[u8]) -> Option<(Self, &[u8])>;
}

impl Shared for () {
    fn write(&self, _: &mut Vec<u8>) {}

    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        Some(((), bytes))
    }
}

/// A stateful function by the states of its series.
pub(crate) struct States<M: Member> {
    states: Vec<M>,
    shared: M::Shared,
}

impl<M: Member> Default for States<M> {
    fn default() -> Self {
        Self { states: Vec::new(), shared: M::Shared::default() }
    }
}

impl<M: Member> Stateful for States<M> {
    fn update(&mut self, rows: &Rows<'_>) -> Result<ArrayRef> {
        self.states.resize_with(rows.series_count.max(self.states.len()), M::default);
        M::advance(&mut self.states, &mut self.shared, rows)
    }

    fn retain(&mut self, keep: &[bool]) {
        let mut keep = keep.iter();
        self.states.retain(|_| keep.next().copied().unwrap_or(true));
    }

    /// What is shared stands before the state of the first series.
    fn save(&self) -> BinaryArray {
        let mut out = BinaryBuilder::new();
        let mut bytes = Vec::new();
        self.shared.write(&mut bytes);
        for state in &self.states {
            state.write(&mut bytes);
            out.append_value(&bytes);
            bytes.clear();
        }
        out.finish()
    }

    fn restore(&mut self, states: &BinaryArray) -> Result<()> {
        let unreadable = || {
            exec_datafusion_err!("the saved state of a detector is damaged or of another version")
        };
        let mut states: Vec<&[u8]> = states.iter().map(Option::unwrap_or_default).collect();
        if let Some(first) = states.first_mut() {
            (self.shared, *first) = M::Shared::read(first).ok_or_else(unreadable)?;
        }
        let read = |bytes| M::read(bytes).ok_or_else(unreadable);
        self.states = states.into_iter().map(read).collect::<Result<_>>()?;
        Ok(())
    }
}

/// A stateful function as SQL sees it.
#[derive(Clone, Copy)]
pub struct Function {
    pub name: &'static str,
    /// Argument types; the last `optional` ones may be left out.
    pub args: &'static [DataType],
    pub optional: usize,
    /// Number of arguments from which on it judges the rows of a closed window together, which it
    /// must then be given at once.
    pub joint: Option<usize>,
    /// What it says rests on all that a series ever did, so that no silence is long enough to
    /// forget it.
    pub lasting: bool,
    pub returns: fn() -> DataType,
    pub make: fn() -> Box<dyn Stateful>,
}

impl Function {
    /// The window function under which DataFusion plans this one.
    pub fn udwf(self) -> WindowUDF {
        WindowUDF::new_from_impl(Planned { signature: self.signature(), function: self })
    }

    /// The stateful function behind a planned window function, if it is one.
    pub fn behind(udwf: &WindowUDF) -> Option<Self> {
        let inner: &dyn Any = udwf.inner().as_ref();
        inner.downcast_ref::<Planned>().map(|p| p.function)
    }

    fn signature(&self) -> Signature {
        let shortest = self.args.len() - self.optional;
        let forms = (shortest..=self.args.len())
            .map(|n| {
                datafusion::logical_expr::TypeSignature::Coercible(
                    self.args[..n].iter().map(coercion).collect(),
                )
            })
            .collect();
        Signature::one_of(forms, Volatility::Stable)
    }
}

fn coercion(to: &DataType) -> datafusion::logical_expr::Coercion {
    use datafusion::common::types::{NativeType, logical_boolean, logical_float64, logical_string};
    use datafusion::logical_expr::{Coercion, TypeSignatureClass};
    match to {
        DataType::Float64 => Coercion::new_implicit(
            TypeSignatureClass::Native(logical_float64()),
            vec![TypeSignatureClass::Numeric],
            NativeType::Float64,
        ),
        DataType::Timestamp(..) => Coercion::new_exact(TypeSignatureClass::Timestamp),
        DataType::Boolean => Coercion::new_exact(TypeSignatureClass::Native(logical_boolean())),
        _ => Coercion::new_exact(TypeSignatureClass::Native(logical_string())),
    }
}

struct Planned {
    signature: Signature,
    function: Function,
}

impl std::fmt::Debug for Planned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.function.name)
    }
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.function.name == other.function.name
    }
}

impl Eq for Planned {}

impl Hash for Planned {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name.hash(state);
    }
}

impl WindowUDFImpl for Planned {
    fn name(&self) -> &str {
        self.function.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(
        &self,
        _: PartitionEvaluatorArgs,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        Err(DataFusionError::Plan(format!(
            "{} remembers earlier windows and runs only in stream jobs; replay the outage with a \
             job that calls it",
            self.function.name
        )))
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), (self.function.returns)(), true)))
    }
}
