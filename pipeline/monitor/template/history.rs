//! What has become of the ids that lines were given.
//!
//! An id stays in what was written under it, while its template may have become part of another
//! one, and that one of a third. Beside the [`Miner`], which knows the ids that it needs, this
//! keeps when an id was first given, when it moved last, and what its template said when it was
//! forgotten.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Miner, TemplateId, hash};
use crate::model::Nanos;

/// Ids that are kept, the newest. Of an older one no more is known than what was told before.
const IDS_MAX: usize = 32_768;

/// What is known of an id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Known {
    pub id: TemplateId,
    /// The template that its lines are part of.
    pub canonical: TemplateId,
    /// Text of that template; the last one where it was forgotten.
    pub template: Arc<str>,
    /// Event time of its first line; of the merge that made it, where that came first.
    pub first_seen_at: Nanos,
    /// Event time of the line that made `canonical` what it is; `None` if that is the id itself
    /// and was so from the beginning.
    pub moved_at: Option<Nanos>,
}

#[derive(Clone)]
struct Entry {
    first_seen_at: Nanos,
    /// When this id last became part of another, or stood for itself again.
    moved_at: Option<Nanos>,
    /// The last template that it stood for, and its text, once that was forgotten.
    last: Option<(u64, Arc<str>)>,
}

/// An entry as a checkpoint has it.
#[derive(Serialize, Deserialize)]
struct Saved {
    id: u64,
    first_seen_at: Nanos,
    moved_at: Option<Nanos>,
    last: Option<(u64, Box<str>)>,
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(into = "Vec<Saved>", from = "Vec<Saved>")]
pub struct History {
    ids: hash::Map<Entry>,
    order: VecDeque<u64>,
}

impl From<Vec<Saved>> for History {
    fn from(saved: Vec<Saved>) -> Self {
        let order = saved.iter().map(|saved| saved.id).collect();
        let entry = |Saved { id, first_seen_at, moved_at, last }| {
            let last = last.map(|(id, text)| (id, text.into()));
            (id, Entry { first_seen_at, moved_at, last })
        };
        Self { ids: saved.into_iter().map(entry).collect(), order }
    }
}

/// In the order in which they came.
impl From<History> for Vec<Saved> {
    fn from(History { mut ids, order }: History) -> Self {
        let saved = |id| {
            let Entry { first_seen_at, moved_at, last } = ids.remove(&id)?;
            let last = last.map(|(id, text)| (id, Box::from(&*text)));
            Some(Saved { id, first_seen_at, moved_at, last })
        };
        order.into_iter().filter_map(saved).collect()
    }
}

impl History {
    /// Takes note that a line of event time `at` was given `id`, and of what it changed: to be
    /// called after every [`Miner::add`].
    pub fn note(&mut self, miner: &Miner, id: TemplateId, at: Nanos) {
        self.entry(id, at);
        for moved in &miner.news.moved {
            self.entry(*moved, at).moved_at = Some(at);
            self.entry(miner.resolve(*moved), at);
        }
        if miner.news.forgotten.is_empty() {
            return;
        }
        let texts: hash::Map<Arc<str>> = { miner.news.forgotten.iter() }
            .map(|(id, text)| (id.0, Arc::from(text.as_str())))
            .collect();
        for (id, entry) in &mut self.ids {
            let last = miner.resolve(TemplateId(*id)).0;
            if let Some(text) = texts.get(&last) {
                entry.last = Some((last, Arc::clone(text)));
            }
        }
    }

    fn entry(&mut self, id: TemplateId, at: Nanos) -> &mut Entry {
        if !self.ids.contains_key(&id.0) {
            if self.order.len() >= IDS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.ids.remove(&oldest);
            }
            self.order.push_back(id.0);
        }
        let new = Entry { first_seen_at: at, moved_at: None, last: None };
        self.ids.entry(id.0).or_insert(new)
    }

    /// Every id that is known, in order.
    pub fn known(&self, miner: &Miner) -> Vec<Known> {
        let mut texts: hash::Map<Option<Arc<str>>> = hash::Map::default();
        let mut all: Vec<Known> = { self.ids.iter() }
            .filter_map(|(id, entry)| {
                let id = TemplateId(*id);
                let now = miner.resolve(id);
                let living = || miner.living(now).map(Arc::from);
                let living = texts.entry(now.0).or_insert_with(living).clone();
                let living = living.map(|text| (now.0, text));
                let (canonical, template) = living.or_else(|| entry.last.clone())?;
                let moves = miner.chain(id).filter_map(|id| self.ids.get(&id.0)?.moved_at);
                let canonical = TemplateId(canonical);
                let first_seen_at = entry.first_seen_at;
                Some(Known { id, canonical, template, first_seen_at, moved_at: moves.max() })
            })
            .collect();
        all.sort_unstable_by_key(|known| known.id);
        all
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::line;
    use super::super::{Limits, trace};
    use super::*;

    const NAMES: [&str; 9] = ["ada", "ben", "cid", "dot", "eve", "fay", "gus", "hal", "ian"];

    /// A miner with its history; the event time of a line is its number.
    struct Stage(Miner, History, Nanos);

    impl Stage {
        fn new(limits: Limits) -> Self {
            Self(Miner::new(limits), History::default(), 0)
        }

        fn add(&mut self, line: &str) -> TemplateId {
            let Self(miner, history, at) = self;
            *at += 1;
            let id = miner.add(line.as_bytes());
            history.note(miner, id, *at);
            id
        }

        fn known(&self, id: TemplateId) -> Option<Known> {
            self.1.known(&self.0).into_iter().find(|known| known.id == id)
        }
    }

    /// Whether a line is one of a template, spaces aside.
    fn fits(template: &str, line: &str) -> bool {
        let bare = |text: &str| text.split_whitespace().collect::<String>();
        let (template, line) = (bare(template), bare(line));
        let (mut rest, mut parts) = (line.as_str(), template.split("<*>").peekable());
        let first = parts.next().unwrap_or_default();
        let Some(after) = rest.strip_prefix(first) else { return false };
        if parts.peek().is_none() {
            return after.is_empty();
        }
        rest = after;
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return rest.ends_with(part);
            }
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        true
    }

    #[test]
    fn a_chain_of_merges_leads_to_the_last() {
        let mut stage = Stage::new(Limits::default());
        let say = |name: &str, room: &str| format!("user {name} came into the room {room} now");
        let ada = stage.add(&say("ada", "blue"));
        NAMES[1..].iter().for_each(|name| _ = stage.add(&say(name, "blue")));
        let blue = stage.known(ada).unwrap();
        assert_eq!(
            (&*blue.template, blue.first_seen_at),
            ("user <*> came into the room blue now", 1)
        );
        assert_eq!(blue.moved_at, Some(8), "eight names make a slot");
        let kim = stage.add(&say("kim", "blue"));
        assert_eq!(kim, blue.canonical);
        for room in NAMES {
            NAMES.iter().for_each(|name| _ = stage.add(&say(name, room)));
        }
        let [one, two] = [ada, kim].map(|id| stage.known(id).unwrap());
        assert_eq!(
            (&*one.template, one.canonical),
            ("user <*> came into the room <*> now", two.canonical)
        );
        assert_ne!(two.canonical, kim);
        assert!(two.moved_at > blue.moved_at && two.moved_at == one.moved_at);
        let canonical = stage.known(two.canonical).unwrap();
        assert_eq!((canonical.canonical, canonical.moved_at), (two.canonical, None));
        // No line of the message changes its id, nor does one with a name that is new to it.
        assert_eq!(stage.add(&say("ada", "blue")), ada);
        assert_eq!(stage.add(&say("kim", "blue")), kim);
        assert_eq!(stage.add(&say("zoe", "blue")), kim);
        let saved = serde_json::to_string(&stage.1).unwrap();
        let restored: History = serde_json::from_str(&saved).unwrap();
        assert_eq!(restored.known(&stage.0), stage.1.known(&stage.0));
        assert_eq!(serde_json::to_string(&restored).unwrap(), saved);
    }

    #[test]
    fn an_alias_that_was_taken_back_leads_nowhere_and_a_forgotten_text_is_kept() {
        let mut stage = Stage::new(Limits { templates_max: 16, ..Limits::default() });
        let say = |name: &str| format!("login of user {name} was accepted by host");
        let ada = stage.add(&say("ada"));
        NAMES.iter().for_each(|name| _ = stage.add(&say(name)));
        let merged = stage.known(ada).unwrap();
        assert_ne!(merged.canonical, ada);
        for word in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p"]
        {
            stage.add(&format!("{word}{word}{word} {word}{word} x{word} {word}y is"));
        }
        assert_eq!(stage.0.template(ada), None, "it is forgotten");
        assert_eq!(stage.known(ada), Some(merged));
        assert_eq!(stage.add(&say("ada")), ada);
        let again = stage.known(ada).unwrap();
        assert_eq!((again.canonical, &*again.template), (ada, say("ada").as_str()));
        assert_eq!(again.moved_at, Some(stage.2));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_id_leads_to_a_living_template_of_its_lines(
            lines in prop::collection::vec(line(), 1..400),
        ) {
            let mut stage = Stage::new(Limits::default());
            let ids: Vec<TemplateId> = lines.iter().map(|line| stage.add(line)).collect();
            let known = stage.1.known(&stage.0);
            for (id, line) in ids.iter().zip(&lines) {
                let known = known.iter().find(|known| known.id == *id).unwrap();
                let living = stage.0.templates().find(|t| t.0 == known.canonical);
                let (_, text, _) = living.unwrap();
                prop_assert_eq!(&text, &*known.template);
                let line = String::from_utf8_lossy(trace::headline(line.as_bytes()));
                prop_assert!(fits(&text, &line), "{} / {}", text, line);
            }
        }

        #[test]
        fn what_was_forgotten_is_known_as_it_was_last(
            lines in prop::collection::vec("[a-d]{1,2} [a-j]{1,2} [a-j] (is|was) [0-9]", 1..400),
        ) {
            let limits = Limits { templates_max: 24, cache_max: 512, ..Limits::default() };
            let mut stage = Stage::new(limits);
            let ids: Vec<TemplateId> = lines.iter().map(|line| stage.add(line)).collect();
            let known = stage.1.known(&stage.0);
            for (id, line) in ids.into_iter().zip(&lines) {
                let known = known.iter().find(|known| known.id == id).unwrap();
                prop_assert!(fits(&known.template, line), "{} / {}", known.template, line);
            }
        }
    }
}
