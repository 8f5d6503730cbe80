//! The key to execution.

use crate::model::Plan;

/// A plan that passed policy and, where policy asks for one, a person.
///
/// Its fields are private and nothing outside this module can make one. As long as there is no
/// policy, nothing inside does either: every plan is a dry run.
#[derive(Debug)]
pub struct Approved {
    plan: Plan,
}

impl Approved {
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}
