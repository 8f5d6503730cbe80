//! Makes one template of several.

use std::cmp::Reverse;

use super::render::{self, Slot, Text};
use super::{Miner, Template, TemplateId, gap, hash, mask, merge, scan};

/// What becomes a slot where templates become one.
#[derive(Clone, Copy)]
pub(super) enum Change {
    Places(merge::Places),
    Gap(gap::Frame),
}

/// What takes both.
fn common(one: u32, two: u32) -> u32 {
    if one == mask::GAP || two == mask::GAP { mask::GAP } else { mask::SLOT }
}

impl Change {
    fn of(self, ids: &[u32]) -> Vec<u32> {
        let mut ids = ids.to_vec();
        match self {
            Change::Places(places) => {
                let differing = (0..ids.len()).filter(|i| places >> i & 1 == 1);
                differing.for_each(|i| ids[i] = common(ids[i], mask::SLOT));
            }
            Change::Gap(frame) => {
                let span = frame.span(ids.len());
                gap::open(&mut ids, span);
            }
        }
        ids
    }

    /// Makes `part` one that takes all that `ids` does.
    fn open(self, part: &mut Template, ids: &[u32]) {
        // A template that has these ids already has the gap.
        if let Change::Gap(frame) = self
            && part.ids != ids
        {
            let span = frame.span(part.ids.len());
            gap::open(&mut part.ids, span.clone());
            gap::open_fields(&mut part.fields, span);
        }
        let opened = |i: usize| matches!(self, Change::Places(places) if places >> i & 1 == 1);
        for (i, id) in part.ids.iter().enumerate() {
            if *id != ids[i] || opened(i) {
                part.fields[i].text = Text::Slot(Slot::Open);
            }
        }
    }
}

impl Miner {
    /// Merges a new template with others as long as it finds some.
    pub(super) fn merge(&mut self, mut new: u32) -> u32 {
        while let Some((change, mut members)) = self.decide(new).or_else(|| self.looks_like(new)) {
            members.push(new);
            new = self.unite(change, &members);
            self.absorb(new);
        }
        new
    }

    /// Takes over the templates that have words where this one takes any.
    fn absorb(&mut self, slot: u32) {
        let Some(view) = self.slots[slot as usize].as_ref().map(Template::view) else {
            return;
        };
        let mut covered = Vec::new();
        let mut others = self.tree.candidates(view.ids);
        others.extend(self.tree.relatives(view.ids));
        others.sort_unstable();
        others.dedup();
        for other in others.into_iter().filter(|other| *other != slot) {
            let Some(template) = &self.slots[other as usize] else {
                continue;
            };
            let spans = match gap::align(view, &template.ids) {
                Some((spans, 0)) => spans,
                _ if merge::covers(view, &template.ids) => Vec::new(),
                _ => continue,
            };
            covered.push((other, spans));
        }
        for (other, spans) in covered {
            let Some(mut part) = self.dissolve(other, slot) else {
                continue;
            };
            for span in spans.into_iter().rev() {
                gap::open_fields(&mut part.fields, span);
            }
            let Some(mut all) = self.slots[slot as usize].take() else {
                return;
            };
            self.alias(part.id, all.id);
            render::widen(&mut all.fields, &part.fields);
            all.general = render::is_general(&all.fields);
            all.count += part.count;
            all.used = all.used.max(part.used);
            all.keys.append(&mut part.keys);
            self.slots[slot as usize] = Some(all);
        }
    }

    /// The template that shows the same text: values that punctuation joins are one value, but are
    /// several once words among them have become slots.
    fn looks_like(&self, new: u32) -> Option<(Change, Vec<u32>)> {
        let template = self.slots[new as usize].as_ref()?;
        let other = self.keys.get(&self.text_key(template))?.slot;
        if other == new {
            return None;
        }
        let (one, two) = (template.view(), self.slots[other as usize].as_ref()?.view());
        let frame = gap::frame(one, two)?;
        let values = |view: merge::View| gap::is_values(&view.ids[frame.span(view.ids.len())]);
        (values(one) && values(two)).then(|| (Change::Gap(frame), vec![other]))
    }

    fn text_key(&self, template: &Template) -> u64 {
        let text = render::text(&template.fields);
        let mut tokens = Vec::new();
        scan::scan(text.as_bytes(), &mut tokens, self.limits.tokens_max);
        mask::key(text.as_bytes(), &tokens)
    }

    fn decide(&mut self, new: u32) -> Option<(Change, Vec<u32>)> {
        let view = self.slots[new as usize].as_ref()?.view();
        let views = |mut slots: Vec<u32>| -> Vec<(u32, merge::View)> {
            slots.retain(|slot| *slot != new);
            let view = |slot: u32| Some((slot, self.slots[slot as usize].as_ref()?.view()));
            slots.into_iter().filter_map(view).collect()
        };
        let candidates = views(self.tree.candidates(view.ids));
        for (_, other) in &candidates {
            if let Some((at, one, two)) = merge::variants(view, *other) {
                for word in [one, two] {
                    self.names.note(word, view, at, self.limits.cache_max);
                }
            }
        }
        if let Some((places, members)) = merge::decide(view, &candidates, &self.names, &self.tree) {
            return Some((Change::Places(places), members));
        }
        let (frame, members) =
            gap::decide(view, &views(self.tree.relatives(view.ids)), &self.tree)?;
        Some((Change::Gap(frame), members))
    }

    /// Makes one template of several; the one with the most keys carries on. Those of the others
    /// move, so that a template that grows with every line costs no more the larger it is.
    fn unite(&mut self, change: Change, members: &[u32]) -> u32 {
        let mut members = members.to_vec();
        members.sort_unstable();
        let mut ids = Vec::new();
        for part in members.iter().filter_map(|slot| self.slots[*slot as usize].as_ref()) {
            let part = change.of(&part.ids);
            if ids.is_empty() {
                ids = part;
            } else {
                let places = ids.iter_mut().zip(part).filter(|(all, part)| **all != *part);
                places.for_each(|(all, part)| *all = common(*all, part));
            }
        }
        let id = TemplateId(ids.iter().fold(hash::SEED, |h, id| mask::step(h, *id)));
        members.extend(self.same(id, &ids));
        let keys = |slot: u32| self.slots[slot as usize].as_ref().map_or(0, |t| t.keys.len());
        members.sort_unstable_by_key(|slot| (Reverse(keys(*slot)), *slot));
        members.dedup();
        let slot = members[0];
        // Constants give no id to other lines than their own.
        let open = |t: &&Template| render::is_open(&t.ids, &t.fields);
        let mut parts = members.iter().filter_map(|slot| self.slots[*slot as usize].as_ref());
        let face = parts.find(open).map_or(id, |part| part.face);
        let mut united: Option<Template> = None;
        for member in members {
            let part =
                if member == slot { self.detach(member) } else { self.dissolve(member, slot) };
            let Some(mut part) = part else {
                continue;
            };
            if part.id != id {
                self.alias(part.id, id);
            }
            change.open(&mut part, &ids);
            match &mut united {
                None => united = Some(part),
                Some(all) => {
                    render::widen(&mut all.fields, &part.fields);
                    all.keys.append(&mut part.keys);
                    all.count += part.count;
                    all.used = all.used.max(part.used);
                }
            }
        }
        self.tree.insert(&ids, true, slot);
        if let Some(mut all) = united {
            (all.id, all.face, all.ids) = (id, face, ids);
            all.general = render::is_general(&all.fields);
            self.slots[slot as usize] = Some(all);
        }
        self.link(id.0, slot);
        self.link_text(slot);
        slot
    }

    /// The template that already has the masked form of `ids`. One that only shows the same text
    /// gives the form up.
    fn same(&mut self, id: TemplateId, ids: &[u32]) -> Option<u32> {
        let slot = self.keys.get(&id.0)?.slot;
        let template = self.slots[slot as usize].as_mut()?;
        if template.ids == ids {
            return Some(slot);
        }
        template.keys.retain(|key| *key != id.0);
        self.keys.remove(&id.0);
        None
    }

    /// The text of a template is one of its own lines.
    pub(super) fn link_text(&mut self, slot: u32) {
        let Some(template) = &self.slots[slot as usize] else {
            return;
        };
        let key = self.text_key(template);
        if !self.keys.contains_key(&key) {
            self.link(key, slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Limits;
    use super::*;

    #[test]
    fn the_template_with_the_most_keys_carries_on() {
        let mut miner = Miner::new(Limits::default());
        miner.add(b"login of user ada was seen by this host");
        for name in ["ben", "cid", "dot", "eve", "fay", "gus", "hal", "ian", "joy"] {
            miner.add(format!("login of user {name} was accepted by this host").as_bytes());
        }
        let slot = |miner: &Miner, text: &str| {
            let id = miner.templates().find(|t| t.1 == text).unwrap().0;
            miner.keys[&id.0].slot
        };
        let small = slot(&miner, "login of user ada was seen by this host");
        let large = slot(&miner, "login of user <*> was accepted by this host");
        assert!(small < large);
        // The key of a moved template has to be written anew, which for the large one is dear.
        assert_eq!(miner.unite(Change::Places(1 << 3 | 1 << 5), &[small, large]), large);
        assert_eq!(slot(&miner, "login of user <*> was <*> by this host"), large);
    }

    #[test]
    fn an_id_that_stands_for_nothing_is_not_given_again() {
        let names = ["ada", "ben", "cid", "dot", "eve", "fay", "gus", "hal", "ian", "joy"];
        let line = |name: &str, room: &str| format!("user {name} came into the room {room} now");
        let mut miner = Miner::new(Limits::default());
        for name in names {
            miner.add(line(name, "blue").as_bytes());
        }
        let early = miner.templates().next().unwrap().0;
        for room in names {
            names.iter().for_each(|name| _ = miner.add(line(name, room).as_bytes()));
        }
        assert_ne!(miner.resolve(early), early);
        // As when there are too many of them.
        miner.aliases.remove(&early.0);
        miner.generation += 1;
        let id = miner.add(line("ada", "blue").as_bytes());
        assert_eq!(miner.template(id).unwrap(), "user <*> came into the room <*> now");
    }
}
