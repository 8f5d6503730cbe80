//! `JOIN`: rows of two inputs that stand for the same window.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ExprSchema};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Join, JoinType, LogicalPlan, Operator};

use super::super::functions::WindowKind;
use super::super::window::window_type;
use super::message::place;
use super::{Planner, Shape};
use crate::error::{Error, Result};

impl Planner<'_> {
    pub(super) async fn join(&mut self, plan: &LogicalPlan, j: &Join) -> Result<Shape> {
        let left = Box::pin(self.node(&j.left)).await?;
        let right = Box::pin(self.node(&j.right)).await?;
        let (Some(a), Some(b)) = (left.window, right.window) else {
            return Err(self.file.refuse(
                "join",
                "a join of rows that have no window never ends",
                "aggregate both sides by the same window first and join on window",
            ));
        };
        let outer = match j.join_type {
            JoinType::Right => Some(("right", "swap the sides and write LEFT JOIN")),
            JoinType::Full => Some(("full", "write LEFT JOIN, and another job for the other side")),
            _ => None,
        };
        if let Some((word, remedy)) = outer {
            let message = "a join whose rows may lack the window of the left side";
            return Err(self.file.refuse(word, message, remedy));
        }
        if !on_window(j) {
            return Err(self.refuse_join(
                j,
                "a join without the window in ON",
                "write ON left.window = right.window AND …",
            ));
        }
        if length(a) != length(b) {
            return Err(self.refuse_join(
                j,
                "a join of windows that are never equal",
                "give both sides windows of the same kind and width",
            ));
        }
        self.finite(plan, &[left, right]).await
    }

    /// Error at the first column of the join's condition, or at the first JOIN.
    fn refuse_join(&self, j: &Join, message: &str, remedy: &str) -> Error {
        let mut first = None;
        let sides = j.on.iter().flat_map(|(l, r)| [l, r]);
        for e in sides.chain(&j.filter) {
            let _visited = e.apply(|e| {
                first = first.or_else(|| e.spans().and_then(|s| s.first()));
                Ok(TreeNodeRecursion::Continue)
            });
        }
        match first {
            Some(span) => self.file.refuse_at(place(span), message, remedy),
            None => self.file.refuse("join", message, remedy),
        }
    }
}

/// What two windows must share to be equal at times: width, or gap.
fn length(window: WindowKind) -> (bool, crate::model::Nanos) {
    match window {
        WindowKind::Fixed { width, .. } => (true, width),
        WindowKind::Session { gap } => (false, gap),
    }
}

/// True if the condition says that a window of the left side is one of the right side.
fn on_window(j: &Join) -> bool {
    let window_of = |e: &Expr, schema: &DFSchema| match e {
        Expr::Column(c) => {
            schema.field_from_column(c).is_ok_and(|f| *f.data_type() == window_type())
        }
        _ => false,
    };
    let across = |a: &Expr, b: &Expr| {
        window_of(a, j.left.schema()) && window_of(b, j.right.schema())
            || window_of(b, j.left.schema()) && window_of(a, j.right.schema())
    };
    let equal = |e: &&Expr| match e {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => across(left, right),
        _ => false,
    };
    j.on.iter().any(|(l, r)| across(l, r))
        || j.filter.iter().flat_map(split_conjunction).any(|e| equal(&e))
}
