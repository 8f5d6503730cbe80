//! `OVER`: functions that keep state, and functions over the rows of one window.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::{NullTreatment, WindowFunction};
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, SortExpr, Window as WindowNode, WindowFrameBound,
    WindowFrameUnits, WindowFunctionDefinition,
};
use datafusion::physical_plan::PhysicalExpr;
use faultline_udfs::stateful::Function;

use super::super::over::{Over, OverSpec, Stage as Call};
use super::super::stage::Stage;
use super::super::window::window_type;
use super::{MAYBE_NULL, Planner, Shape, all_interned, types};
use crate::error::Result;

impl Planner<'_> {
    pub(super) async fn window(&mut self, plan: &LogicalPlan, w: &WindowNode) -> Result<Shape> {
        let input = self.node(&w.input).await?;
        let calls: Vec<&WindowFunction> = w
            .window_expr
            .iter()
            .filter_map(|e| match e {
                Expr::WindowFunction(f) => Some(f.as_ref()),
                Expr::Alias(a) => match a.expr.as_ref() {
                    Expr::WindowFunction(f) => Some(f.as_ref()),
                    _ => None,
                },
                _ => None,
            })
            .collect();
        let stateful: Vec<Option<Function>> = calls.iter().map(|c| stateful(c)).collect();
        if stateful.iter().all(Option::is_none) {
            self.check_ranking(&calls, input, w.input.schema())?;
            return self.finite(plan, &[input]).await;
        }
        let same = calls.iter().all(|c| {
            c.params.partition_by == calls[0].params.partition_by
                && c.params.order_by == calls[0].params.order_by
        });
        if !same || stateful.iter().any(Option::is_none) {
            return Err(self.file.refuse(
                "over",
                "different OVER clauses in one SELECT",
                "nest them: one SELECT per OVER clause",
            ));
        }
        self.over(plan, w, input, &calls, stateful.into_iter().flatten().collect())
    }

    fn over(
        &mut self,
        plan: &LogicalPlan,
        w: &WindowNode,
        input: Shape,
        calls: &[&WindowFunction],
        functions: Vec<Function>,
    ) -> Result<Shape> {
        let schema = w.input.schema();
        let params = &calls[0].params;
        let window = self.order_column(params.order_by.as_slice(), schema, input)?;
        let keys = self.physical(&params.partition_by, schema)?;
        let key_types = types(&keys, schema)?;
        if key_types.iter().any(|t| *t == window_type()) {
            return Err(self.file.refuse(
                "partition",
                "a stateful function that forgets at every window",
                "partition by the series and order by the window",
            ));
        }
        let joint = |(call, function): (&&WindowFunction, &Function)| {
            function.joint.is_some_and(|from| call.params.args.len() >= from)
        };
        if window.is_none() && calls.iter().zip(&functions).any(joint) {
            return Err(self.file.refuse(
                "over",
                "a function that judges the rows of a window together, on rows that have none",
                "aggregate by a window first, then write OVER (PARTITION BY … ORDER BY window)",
            ));
        }
        let interned = input.interned && all_interned(&keys, &key_types);
        let mut specs = Vec::new();
        for (call, function) in calls.iter().zip(functions) {
            self.check_plain(call)?;
            specs.push(Call { function, args: self.physical(&call.params.args, schema)? });
        }
        let output = Arc::clone(plan.schema().inner());
        let spec = OverSpec { calls: specs, keys, key_types, interned, window, output };
        let node = self.push(Stage::Over(Over::new(spec)?), &[input.node]);
        Ok(Shape { node, ..input })
    }

    /// The window that a stateful function is ordered by, or none where rows are raw.
    fn order_column(
        &self,
        order: &[SortExpr],
        schema: &DFSchema,
        input: Shape,
    ) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        let remedy = "write OVER (PARTITION BY … ORDER BY window), or ORDER BY ts on raw rows";
        let [by] = order else {
            return Err(self.file.refuse(
                "over",
                "a stateful function needs exactly one ORDER BY column",
                remedy,
            ));
        };
        if !by.asc {
            return Err(self.file.refuse("desc", "a stream runs forward in time only", remedy));
        }
        let expr = self.state.create_physical_expr(by.expr.clone(), schema)?;
        let data_type = expr.data_type(schema.as_arrow())?;
        if data_type == window_type() {
            if expr.nullable(schema.as_arrow())? {
                return Err(self.file.refuse("over", MAYBE_NULL.0, MAYBE_NULL.1));
            }
            return Ok(Some(expr));
        }
        let is_ts = matches!(&by.expr, Expr::Column(c) if c.name == "ts");
        if is_ts && input.window.is_none() {
            return Ok(None);
        }
        Err(self.file.refuse(
            "over",
            "a stateful function ordered by something other than its window",
            remedy,
        ))
    }

    /// A stateful function is given every row of its series once, in order, and nothing else.
    fn check_plain(&self, call: &WindowFunction) -> Result<()> {
        let params = &call.params;
        let frame = &params.window_frame;
        let from_the_first = matches!(frame.start_bound, WindowFrameBound::Preceding(_))
            && frame.start_bound.is_unbounded();
        let whole = frame.units == WindowFrameUnits::Rows
            && from_the_first
            && frame.end_bound == WindowFrameBound::CurrentRow;
        let (word, what) = match frame.units {
            _ if params.distinct => ("distinct", "DISTINCT"),
            _ if params.null_treatment == Some(NullTreatment::IgnoreNulls) => {
                ("ignore", "IGNORE NULLS")
            }
            _ if whole => return Ok(()),
            WindowFrameUnits::Rows => ("rows", "a ROWS frame"),
            WindowFrameUnits::Range => ("range", "a RANGE frame"),
            WindowFrameUnits::Groups => ("groups", "a GROUPS frame"),
        };
        Err(self.file.refuse(
            word,
            format!("{what} has no effect on {}, which keeps state", call.fun.name()),
            "leave it out, and choose rows by WHERE in a SELECT below",
        ))
    }

    fn check_ranking(
        &self,
        calls: &[&WindowFunction],
        input: Shape,
        schema: &DFSchema,
    ) -> Result<()> {
        let remedy =
            "aggregate by a window first, then write OVER (PARTITION BY window ORDER BY …)";
        if input.window.is_none() {
            return Err(self.file.refuse("over", "OVER on rows that have no window", remedy));
        }
        for call in calls {
            let is_window = |e: &&Expr| e.get_type(schema).is_ok_and(|t| t == window_type());
            let mut windows = call.params.partition_by.iter().filter(is_window).peekable();
            let by_window = windows.peek().is_some();
            if by_window && !windows.any(|e| e.nullable(schema).is_ok_and(|n| !n)) {
                return Err(self.file.refuse("over", MAYBE_NULL.0, MAYBE_NULL.1));
            }
            if !by_window {
                return Err(self.file.refuse(
                    "over",
                    "OVER without the window in PARTITION BY",
                    remedy,
                ));
            }
        }
        Ok(())
    }
}

fn stateful(call: &WindowFunction) -> Option<Function> {
    match &call.fun {
        WindowFunctionDefinition::WindowUDF(udwf) => Function::behind(udwf),
        WindowFunctionDefinition::AggregateUDF(_) => None,
    }
}
