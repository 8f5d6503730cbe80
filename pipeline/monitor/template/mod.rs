//! Log templates: what a line says once its data is masked.
//!
//! A line is scanned once ([`scan`]); the hash of what was seen is looked up in a cache. On a miss
//! the masked form ([`mask`]) is looked up, then a fixed-depth tree ([`tree`]) is searched for a
//! template with a slot in the place of a word. Where enough templates differ in single words only
//! ([`merge`]), or in a span of text ([`gap`]), they become one ([`unite`]).
//!
//! A line keeps its id: what was a template before it became part of another goes on under the id
//! that it had, and what is new to the other under the id that it gave before, so that no detector
//! takes a merge for a change of what is logged. [`Miner::resolve`] says of which template it is
//! part now, and [`history`] what has become of every id.

mod codec;
pub mod fold;
mod gap;
mod hash;
pub mod header;
pub mod history;
mod mark;
mod mask;
mod merge;
mod names;
mod render;
mod scan;
mod shape;
#[cfg(test)]
mod tests;
pub mod trace;
mod tree;
mod unite;

pub use mark::is_outcome;

use std::collections::VecDeque;
use std::ops::Range;

use render::{Field, Slot, Text};

/// Stable: a hash of the masked text, the same on every run and cluster.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TemplateId(pub u64);

/// As columns and series have it.
impl std::fmt::Display for TemplateId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl TemplateId {
    /// What it is shown as, read back.
    pub fn parse(text: &str) -> Option<Self> {
        u64::from_str_radix(text, 16).ok().map(Self).filter(|id| id.to_string() == text)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Beyond it the least recently used templates are forgotten.
    pub templates_max: usize,
    /// The rest of a line with more tokens is one value; at most [`Limits::TOKENS_MAX`].
    pub tokens_max: usize,
    /// The rest of a longer line is not looked at.
    pub bytes_max: usize,
    /// Masked forms and cached lines that are remembered.
    pub cache_max: usize,
}

impl Limits {
    pub const TOKENS_MAX: usize = 128;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            templates_max: 8192,
            tokens_max: Self::TOKENS_MAX,
            bytes_max: 4096,
            cache_max: 65_536,
        }
    }
}

struct Template {
    id: TemplateId,
    /// What lines are given that no template had before; resolves to `id`.
    face: TemplateId,
    ids: Vec<u32>,
    fields: Vec<Field>,
    /// Masked forms that lead here.
    keys: Vec<u64>,
    count: u64,
    /// Line number of the latest line.
    used: u64,
    /// No literal is left that another line could change.
    general: bool,
}

impl Template {
    fn view(&self) -> merge::View<'_> {
        merge::View { ids: &self.ids, fields: &self.fields, count: self.count }
    }
}

/// Where a masked form leads.
#[derive(Clone, Copy)]
struct Lead {
    slot: u32,
    /// What its lines are given.
    id: u64,
}

/// What the latest line has changed for ids that were given before it.
#[derive(Default)]
struct News {
    /// Ids that are part of another template now, or stand for themselves again.
    moved: Vec<TemplateId>,
    /// Templates that were forgotten, with their texts.
    forgotten: Vec<(TemplateId, String)>,
}

#[derive(Clone, Copy, Default)]
struct Cached {
    exact: u64,
    id: u64,
    slot: u32,
    generation: u64,
}

pub struct Miner {
    limits: Limits,
    lines: u64,
    slots: Vec<Option<Template>>,
    free: Vec<u32>,
    /// Masked form -> template.
    keys: hash::Map<Lead>,
    tree: tree::Tree,
    names: names::Names,
    aliases: hash::Map<u64>,
    aliases_order: VecDeque<u64>,
    /// Direct-mapped; only saves work, so it is not part of a checkpoint.
    cache: Vec<Cached>,
    /// Entries of another generation are void.
    generation: u64,
    tokens: Vec<scan::Token>,
    news: News,
    /// Texts of templates that were forgotten, where they are kept; not part of a checkpoint.
    forgotten: Option<hash::Map<String>>,
}

impl Miner {
    pub fn new(limits: Limits) -> Self {
        let limits = Limits {
            templates_max: limits.templates_max.clamp(16, u32::MAX as usize / 2),
            tokens_max: limits.tokens_max.clamp(2, Limits::TOKENS_MAX),
            bytes_max: limits.bytes_max.clamp(16, u32::MAX as usize / 2),
            cache_max: limits.cache_max.clamp(limits.templates_max.max(16), 1 << 24),
        };
        Self {
            limits,
            lines: 0,
            slots: Vec::new(),
            free: Vec::new(),
            keys: hash::Map::default(),
            tree: tree::Tree::default(),
            names: names::Names::default(),
            aliases: hash::Map::default(),
            aliases_order: VecDeque::new(),
            cache: vec![Cached::default(); limits.cache_max.next_power_of_two()],
            generation: 1,
            tokens: Vec::new(),
            news: News::default(),
            forgotten: None,
        }
    }

    /// The same for a finite input: it keeps the texts of templates that it forgets, so that
    /// [`Miner::template`] knows every id that [`Miner::add`] has given.
    pub fn with_memory(limits: Limits) -> Self {
        Self { forgotten: Some(hash::Map::default()), ..Self::new(limits) }
    }

    /// Templates that were forgotten and whose texts are kept.
    pub fn forgotten(&self) -> usize {
        self.forgotten.as_ref().map_or(0, hash::Map::len)
    }

    /// The template of an event: any bytes, any length. Of several lines the one that says what
    /// happened counts.
    pub fn add(&mut self, body: &[u8]) -> TemplateId {
        let body = trace::headline(body.strip_prefix(header::BYTE_ORDER_MARK).unwrap_or(body));
        let body = &body[..body.len().min(self.limits.bytes_max)];
        let mut tokens = std::mem::take(&mut self.tokens);
        let exact = scan::scan(body, &mut tokens, self.limits.tokens_max);
        self.lines += 1;
        self.news.moved.clear();
        self.news.forgotten.clear();
        let place = exact as usize & (self.cache.len() - 1);
        let cached = self.cache[place];
        let (slot, id) = if cached.exact == exact && cached.generation == self.generation {
            (cached.slot, cached.id)
        } else {
            let key = mask::key(body, &tokens);
            let slot = self.find(key, body, &tokens);
            let id = self.id(key, slot);
            self.cache[place] = Cached { exact, id, slot, generation: self.generation };
            (slot, id)
        };
        self.tokens = tokens;
        let lines = self.lines;
        match &mut self.slots[slot as usize] {
            Some(template) => {
                template.count += 1;
                template.used = lines;
                TemplateId(id)
            }
            None => unreachable!(
                "a slot is freed only together with the keys and the generation that name it"
            ),
        }
    }

    /// The id of lines of this masked form: the one that they had, as long as it is known to stand
    /// for their template.
    fn id(&self, key: u64, slot: u32) -> u64 {
        let Some(template) = &self.slots[slot as usize] else { return key };
        let had = TemplateId(self.keys.get(&key).map_or(key, |lead| lead.id));
        let mut known = [had, template.face].into_iter();
        known.find(|id| self.resolve(*id) == template.id).unwrap_or(template.id).0
    }

    fn find(&mut self, key: u64, line: &[u8], tokens: &[scan::Token]) -> u32 {
        if let Some(Lead { slot, .. }) = self.keys.get(&key).copied() {
            if let Some(template) = self.slots[slot as usize].as_mut().filter(|t| !t.general) {
                let (_, fields) = render::fields(line, tokens);
                render::widen(&mut template.fields, &fields);
                template.general = render::is_general(&template.fields);
            }
            return slot;
        }
        let (ids, fields) = render::fields(line, tokens);
        self.make_room();
        let candidates = self.tree.candidates(&ids);
        if let Some(slot) = self.covering(&ids, &candidates) {
            self.link(key, slot);
            if let Some(template) = self.slots[slot as usize].as_mut() {
                render::widen(&mut template.fields, &fields);
                for (at, word) in (0..).zip(&ids).filter(|(at, word)| template.ids[*at] != **word) {
                    self.names.note(*word, template.view(), at, self.limits.cache_max);
                }
            }
            return slot;
        }
        let gapped = self.tree.gapped(&ids);
        let (mut ids, mut fields) = (ids, fields);
        if let Some((spans, differing, slot)) = self.aligned(&ids, &gapped) {
            // From the last, so that the places of the others stay.
            for span in spans.into_iter().rev() {
                gap::open(&mut ids, span.clone());
                gap::open_fields(&mut fields, span);
            }
            if differing == 0 {
                self.link(key, slot);
                if let Some(template) = self.slots[slot as usize].as_mut() {
                    render::widen(&mut template.fields, &fields);
                }
                return slot;
            }
        }
        let slot = self.insert(key, ids, fields);
        self.merge(slot)
    }

    /// The template whose gaps take what a line has more, and in how many other words it differs.
    fn aligned(&self, ids: &[u32], gapped: &[u32]) -> Option<(Vec<Range<usize>>, usize, u32)> {
        let align = |slot: &u32| {
            let template = self.slots[*slot as usize].as_ref()?;
            let (spans, differing) = gap::align(template.view(), ids)?;
            Some((spans, differing, *slot))
        };
        gapped.iter().filter_map(align).min_by_key(|(_, differing, slot)| (*differing, *slot))
    }

    /// The template that says the same with slots in place of some words; of several, the most
    /// specific.
    fn covering(&self, ids: &[u32], candidates: &[u32]) -> Option<u32> {
        let covers = |slot: &u32| {
            let template = self.slots[*slot as usize].as_ref()?;
            let places = merge::places(&template.ids, ids)?;
            let open = |i: usize| {
                template.ids[i] == mask::GAP
                    || (template.ids[i] == mask::SLOT
                        && matches!(template.fields[i].text, Text::Slot(Slot::Open)))
            };
            let all = (0..ids.len()).filter(|i| places >> i & 1 == 1).all(open);
            all.then_some((places.count_ones(), template.id, *slot))
        };
        candidates.iter().filter_map(covers).min().map(|(_, _, slot)| slot)
    }

    fn insert(&mut self, key: u64, ids: Vec<u32>, fields: Vec<Field>) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.tree.insert(&ids, render::is_open(&ids, &fields), slot);
        self.take_back(TemplateId(key));
        let general = render::is_general(&fields);
        let (count, used, id) = (0, self.lines, TemplateId(key));
        let keys = Vec::new();
        let template = Template { id, face: id, ids, fields, keys, count, used, general };
        self.slots[slot as usize] = Some(template);
        self.link(key, slot);
        self.link_text(slot);
        slot
    }

    /// Remembers that a masked form leads to a template. When too many are remembered, all but the
    /// templates' own are forgotten; the tree finds the others again.
    fn link(&mut self, key: u64, slot: u32) {
        if self.keys.len() >= self.limits.cache_max {
            self.keys.clear();
            self.generation += 1;
            for (i, template) in self.slots.iter_mut().enumerate() {
                if let Some(template) = template {
                    let (key, id) = (template.id.0, template.face.0);
                    template.keys = vec![key];
                    self.keys.insert(key, Lead { slot: i as u32, id });
                }
            }
        }
        if self.keys.get(&key).is_some_and(|lead| lead.slot == slot) {
            return;
        }
        let before = self.resolve(TemplateId(key));
        if let Some(template) = &mut self.slots[slot as usize] {
            // Its lines may have been forgotten, but not what they became.
            let had = before == template.id && before.0 != key;
            let id = if had { key } else { template.face.0 };
            template.keys.push(key);
            self.keys.insert(key, Lead { slot, id });
        }
    }

    /// Takes a template out, together with all that names its slot.
    fn remove(&mut self, slot: u32) -> Option<Template> {
        let template = self.detach(slot)?;
        template.keys.iter().for_each(|key| _ = self.keys.remove(key));
        self.free.push(slot);
        Some(template)
    }

    /// Takes a template out of which another takes over the keys, with the ids of their lines.
    fn dissolve(&mut self, slot: u32, into: u32) -> Option<Template> {
        let template = self.detach(slot)?;
        for key in &template.keys {
            let lead = self.keys.entry(*key).or_insert(Lead { slot: into, id: template.face.0 });
            lead.slot = into;
        }
        self.free.push(slot);
        Some(template)
    }

    /// Takes a template out that comes back to its slot in another form: its keys stay.
    fn detach(&mut self, slot: u32) -> Option<Template> {
        let template = self.slots[slot as usize].take()?;
        self.tree.remove(&template.ids, render::is_open(&template.ids, &template.fields), slot);
        self.generation += 1;
        Some(template)
    }

    fn alias(&mut self, from: TemplateId, to: TemplateId) {
        self.take_back(to);
        if self.aliases.insert(from.0, to.0).is_none() {
            self.aliases_order.push_back(from.0);
        }
        self.news.moved.push(from);
        while self.forgotten.is_none() && self.aliases_order.len() > self.limits.cache_max {
            if let Some(oldest) = self.aliases_order.pop_front() {
                self.aliases.remove(&oldest);
                self.generation += 1;
            }
        }
    }

    /// An id stands for itself: it is a template again, or as before.
    fn take_back(&mut self, id: TemplateId) {
        if self.aliases.remove(&id.0).is_some() {
            self.generation += 1;
            self.news.moved.push(id);
        }
    }

    /// Forgets the least recently used eighth when the limit is reached.
    fn make_room(&mut self) {
        if self.slots.len() - self.free.len() < self.limits.templates_max {
            return;
        }
        let mut by_use: Vec<(u64, u32)> = (0..)
            .zip(&self.slots)
            .filter_map(|(slot, template)| Some((template.as_ref()?.used, slot)))
            .collect();
        by_use.sort_unstable();
        by_use.truncate(self.limits.templates_max.div_ceil(8));
        for (_, slot) in by_use {
            let Some(template) = self.remove(slot) else { continue };
            let text = render::text(&template.fields);
            match &mut self.forgotten {
                Some(texts) => _ = texts.insert(template.id.0, text),
                None => self.news.forgotten.push((template.id, text)),
            }
        }
    }

    /// An id and what it became, one merge after the other; the last is the template of today.
    fn chain(&self, id: TemplateId) -> impl Iterator<Item = TemplateId> {
        let next = |id: &TemplateId| self.aliases.get(&id.0).map(|next| TemplateId(*next));
        // Every merge makes words into slots, so a chain is no longer than a template.
        std::iter::successors(Some(id), next).take(Limits::TOKENS_MAX + 2)
    }

    /// The template that an id stands for after merges.
    pub fn resolve(&self, id: TemplateId) -> TemplateId {
        self.chain(id).last().unwrap_or(id)
    }

    pub fn template(&self, id: TemplateId) -> Option<String> {
        let id = self.resolve(id);
        self.living(id).or_else(|| self.forgotten.as_ref()?.get(&id.0).cloned())
    }

    /// The text of a template that is not forgotten.
    fn living(&self, id: TemplateId) -> Option<String> {
        let slot = self.keys.get(&id.0)?.slot;
        let template = self.slots[slot as usize].as_ref().filter(|t| t.id == id)?;
        Some(render::text(&template.fields))
    }

    /// Every template with its text and number of lines, by id.
    pub fn templates(&self) -> impl Iterator<Item = (TemplateId, String, u64)> + '_ {
        let mut all: Vec<&Template> = self.slots.iter().flatten().collect();
        all.sort_unstable_by_key(|t| t.id);
        all.into_iter().map(|t| (t.id, render::text(&t.fields), t.count))
    }
}
