//! Secrets that only the words around them tell: commands, settings and prose, as runbooks have
//! them. `<key>` stands for a name whose value is a secret, `<word>` for such a name in prose,
//! `<name>` for one of them, `<password>` for one whose value may be an ordinary word, and
//! `<value>` for a value in any quotes or none. `<note>` and `<whose>` are what prose puts between
//! a name and its value: "(prod)", "for the bastion". The others are in [`words`].

pub mod checks;
mod commands;
mod manifests;
mod prose;
mod settings;
mod tables;
mod words;

pub use manifests::manifests;
pub use tables::cells;
pub use words::expanded;

use super::secrets::Check;

/// Kind, check and pattern; every group of a match is secret.
pub type Form = (&'static str, Check, &'static str);

/// The kind of what a sentence tells.
pub const PROSE: &str = "prose";

/// All forms, in order.
pub fn all() -> impl Iterator<Item = Form> {
    let told = settings::CODE.iter().chain(commands::COMMANDS);
    told.chain(settings::SETTINGS).chain(prose::PROSE).copied()
}

/// After all others: a word beside such a name that looks like no word.
pub const BESIDE: Form = (PROSE, Check::Odd, r#"<word>\s{1,4}["'`(]?(\S{4,})"#);
