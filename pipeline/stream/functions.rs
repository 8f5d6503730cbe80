//! `tumble`, `hop` and `session`: placeholders that SQL plans and the engine replaces by windows.

use std::any::Any;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::window::window_type;
use crate::model::{DAY, Nanos};

/// Longest window: event time in nanoseconds ends in 2262, and no window may reach beyond it.
const LENGTH_MAX: Nanos = 3660 * DAY;

/// Most slides in a hopping window, each of which it merges when it fires: a week by the minute.
const SLIDES_MAX: Nanos = 7 * 24 * 60;

/// A window as written in GROUP BY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowKind {
    /// Hops by `slide`; tumbles where that equals `width`.
    Fixed {
        width: Nanos,
        slide: Nanos,
    },
    Session {
        gap: Nanos,
    },
}

const NAMES: [&str; 3] = ["tumble", "hop", "session"];

/// What to do about a window function that is called where it makes no window.
pub const OUTSIDE_REMEDY: &str =
    "write it in GROUP BY, and window.start or window.end in the SELECT around it";

/// Message where a window function is called where it makes no window.
pub fn outside(name: &str) -> String {
    format!("{name} outside of GROUP BY makes no window")
}

/// True for the names of window functions as a job writes them.
pub fn is_window_name(name: &str) -> bool {
    NAMES.iter().any(|n| n.eq_ignore_ascii_case(name))
}

/// The three window functions, for registration.
pub fn window_functions() -> Vec<Arc<ScalarUDF>> {
    NAMES
        .into_iter()
        .map(|name| {
            let args = if name == "hop" { 2 } else { 1 };
            // Volatile, so that no optimizer folds or moves it.
            let signature = Signature::any(args, Volatility::Volatile);
            Arc::new(ScalarUDF::new_from_impl(Placeholder { name, signature }))
        })
        .collect()
}

/// True for the placeholder of a window.
pub fn is_window(function: &ScalarUDF) -> bool {
    let inner: &dyn Any = function.inner().as_ref();
    inner.is::<Placeholder>()
}

/// Why a window function call cannot be used.
pub struct BadWindow {
    pub function: &'static str,
    pub message: String,
    pub remedy: &'static str,
}

/// Reads a group expression as a window, if it is a call of a window function.
pub fn window_of(expr: &Expr) -> Option<Result<WindowKind, BadWindow>> {
    let expr = expr.clone().unalias();
    let Expr::ScalarFunction(call) = &expr else { return None };
    let inner: &dyn Any = call.func.inner().as_ref();
    let name = inner.downcast_ref::<Placeholder>()?.name;
    let bad = |message: String, remedy| BadWindow { function: name, message, remedy };
    let lengths: Result<Vec<Nanos>, _> = call.args.iter().map(fixed_length).collect();
    let lengths = match lengths {
        Ok(lengths) => lengths,
        Err(message) => {
            return Some(Err(bad(message, "write a fixed length, such as interval '1 minute'")));
        }
    };
    Some(match (name, lengths.as_slice()) {
        ("tumble", [width]) => Ok(WindowKind::Fixed { width: *width, slide: *width }),
        ("hop", [slide, width]) if slide > width || width % slide != 0 => Err(bad(
            "hop(slide, width): the width must be a multiple of the slide".into(),
            "choose a slide that divides the width, such as \
             hop(interval '1 minute', interval '5 minutes')",
        )),
        ("hop", [slide, width]) if width / slide > SLIDES_MAX => Err(bad(
            format!("hop(slide, width): the width is {} slides", width / slide),
            "choose a slide of which the width holds at most 10080, a week by the minute",
        )),
        ("hop", [slide, width]) => Ok(WindowKind::Fixed { width: *width, slide: *slide }),
        (_, [gap]) => Ok(WindowKind::Session { gap: *gap }),
        _ => Err(bad("wrong number of arguments".into(), "see the dialect in README")),
    })
}

fn fixed_length(expr: &Expr) -> Result<Nanos, String> {
    let Expr::Literal(value, _) = expr else {
        return Err("a window length must be a literal interval".into());
    };
    let (days, rest) = match value {
        ScalarValue::IntervalMonthDayNano(Some(i)) if i.months != 0 => {
            return Err("months have no fixed length".into());
        }
        ScalarValue::IntervalMonthDayNano(Some(i)) => (i.days, i.nanoseconds),
        ScalarValue::IntervalDayTime(Some(i)) => (i.days, i64::from(i.milliseconds) * 1_000_000),
        _ => return Err("a window length must be an interval".into()),
    };
    match i64::from(days).checked_mul(DAY).and_then(|days| days.checked_add(rest)) {
        Some(..=0) => Err("a window length must be above zero".into()),
        Some(length @ ..=LENGTH_MAX) => Ok(length),
        _ => Err(format!("a window length must be at most {} days", LENGTH_MAX / DAY)),
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Placeholder {
    name: &'static str,
    signature: Signature,
}

impl ScalarUDFImpl for Placeholder {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(window_type())
    }

    /// A window is never null, unlike one that an outer join fills in.
    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        Ok(Arc::new(Field::new(self.name, window_type(), false)))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Err(DataFusionError::Plan(format!(
            "{} belongs into the GROUP BY of a stream job",
            self.name
        )))
    }
}
