//! A miner as bytes, for checkpoints: little-endian numbers, lengths before what they count.

use std::collections::VecDeque;

use super::render::{Field, Slot, Text, Word, is_general, is_open};
use super::shape::Piece;
use super::{Lead, Limits, Miner, Template, TemplateId};

/// First bytes of a checkpoint; the last one is the version.
const MAGIC: [u8; 4] = *b"FLT\x04";

impl Miner {
    /// Appends all that later lines depend on.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend(MAGIC);
        let l = &self.limits;
        for n in [
            l.templates_max,
            l.tokens_max,
            l.bytes_max,
            l.cache_max,
            self.slots.len(),
            self.free.len(),
        ] {
            number(out, n as u64);
        }
        number(out, self.lines);
        self.free.iter().for_each(|slot| number(out, u64::from(*slot)));
        for (slot, template) in (0u64..).zip(&self.slots) {
            if let Some(template) = template {
                number(out, slot);
                self.write_template(out, template);
            }
        }
        number(out, self.aliases_order.len() as u64);
        for from in &self.aliases_order {
            number(out, *from);
            // An alias that was taken back leaves its place in the order.
            number(out, self.aliases.get(from).copied().unwrap_or(*from));
        }
        number(out, self.names.iter().count() as u64);
        for (word, [first, second]) in self.names.iter() {
            [word, first, second].iter().for_each(|n| out.extend(n.to_le_bytes()));
        }
    }

    /// `None` if the bytes are not a checkpoint of this version.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut r = Reader(bytes.strip_prefix(&MAGIC)?);
        let [templates_max, tokens_max, bytes_max, cache_max] =
            [r.length()?, r.length()?, r.length()?, r.length()?];
        let limits = Limits { templates_max, tokens_max, bytes_max, cache_max };
        let (slots, free) = (r.length()?, r.length()?);
        if slots > templates_max.checked_mul(2)? || free > slots || cache_max > 1 << 24 {
            return None;
        }
        let mut miner = Self::new(limits);
        if miner.limits != limits {
            return None;
        }
        miner.lines = r.number()?;
        miner.slots.resize_with(slots, || None);
        for _ in 0..free {
            miner.free.push(r.slot(slots)?);
        }
        for _ in 0..slots - free {
            let slot = r.slot(slots)?;
            let (template, ids) = r.template()?;
            for (key, id) in template.keys.iter().zip(ids) {
                miner.keys.insert(*key, Lead { slot, id });
            }
            miner.tree.insert(&template.ids, is_open(&template.ids, &template.fields), slot);
            if miner.slots[slot as usize].replace(template).is_some() {
                return None;
            }
        }
        let mut order = VecDeque::new();
        for _ in 0..r.length()? {
            let (from, to) = (r.number()?, r.number()?);
            order.push_back(from);
            if from != to {
                miner.aliases.insert(from, to);
            }
        }
        miner.aliases_order = order;
        for _ in 0..r.length()? {
            let (word, known) = (r.id()?, [r.id()?, r.id()?]);
            miner.names.restore(word, known);
        }
        r.0.is_empty().then_some(miner)
    }

    fn write_template(&self, out: &mut Vec<u8>, t: &Template) {
        let (keys, ids) = (t.keys.len() as u64, t.ids.len() as u64);
        for n in [t.id.0, t.face.0, t.count, t.used, keys, ids] {
            number(out, n);
        }
        for key in &t.keys {
            number(out, *key);
            number(out, self.keys.get(key).map_or(t.face.0, |lead| lead.id));
        }
        for (id, field) in t.ids.iter().zip(&t.fields) {
            out.extend(id.to_le_bytes());
            out.push(u8::from(field.spaced));
            match &field.text {
                Text::Constant(constant) => {
                    out.push(0);
                    text(out, constant);
                }
                Text::Slot(Slot::Any) => out.push(1),
                Text::Slot(Slot::Open) => out.push(3),
                Text::Slot(Slot::Words(words)) => {
                    out.push(2);
                    number(out, words.len() as u64);
                    words.iter().for_each(|word| write_word(out, word));
                }
            }
        }
    }
}

fn number(out: &mut Vec<u8>, n: u64) {
    out.extend(n.to_le_bytes());
}

fn text(out: &mut Vec<u8>, text: &str) {
    number(out, text.len() as u64);
    out.extend(text.as_bytes());
}

fn write_word(out: &mut Vec<u8>, word: &Word) {
    text(out, &word.joint);
    number(out, word.pieces.len() as u64);
    for piece in &word.pieces {
        match piece {
            Piece::Mask => out.push(0),
            Piece::Literal(literal) => {
                out.push(1);
                text(out, literal);
            }
            Piece::Delimiter(byte) => out.extend([2, *byte]),
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn bytes(&mut self, n: usize) -> Option<&[u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.bytes(1)?[0])
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.bytes(8)?.try_into().ok()?))
    }

    fn id(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.bytes(4)?.try_into().ok()?))
    }

    fn length(&mut self) -> Option<usize> {
        self.number()?.try_into().ok()
    }

    fn slot(&mut self, slots: usize) -> Option<u32> {
        let slot = self.length()?;
        (slot < slots).then_some(slot as u32)
    }

    fn text(&mut self) -> Option<Box<str>> {
        let n = self.length()?;
        Some(std::str::from_utf8(self.bytes(n)?).ok()?.into())
    }

    /// A template, and for each of its keys what lines are given.
    fn template(&mut self) -> Option<(Template, Vec<u64>)> {
        let (id, face) = (TemplateId(self.number()?), TemplateId(self.number()?));
        let [count, used] = [self.number()?, self.number()?];
        let (keys_len, ids_len) = (self.length()?, self.length()?);
        let (mut keys, mut given) = (Vec::new(), Vec::new());
        for _ in 0..keys_len {
            keys.push(self.number()?);
            given.push(self.number()?);
        }
        let (mut ids, mut fields) = (Vec::new(), Vec::new());
        if ids_len > 2 * Limits::TOKENS_MAX {
            return None;
        }
        for _ in 0..ids_len {
            ids.push(self.id()?);
            fields.push(Field { spaced: self.byte()? == 1, text: self.field()? });
        }
        let general = is_general(&fields);
        Some((Template { id, face, ids, fields, keys, count, used, general }, given))
    }

    fn field(&mut self) -> Option<Text> {
        Some(match self.byte()? {
            0 => Text::Constant(self.text()?),
            1 => Text::Slot(Slot::Any),
            3 => Text::Slot(Slot::Open),
            2 => {
                let mut words = Vec::new();
                for _ in 0..self.length()? {
                    words.push(self.word()?);
                }
                Text::Slot(Slot::Words(words))
            }
            _ => return None,
        })
    }

    fn word(&mut self) -> Option<Word> {
        let joint = self.text()?;
        let mut pieces = Vec::new();
        for _ in 0..self.length()? {
            pieces.push(match self.byte()? {
                0 => Piece::Mask,
                1 => Piece::Literal(self.text()?),
                2 => Piece::Delimiter(self.byte()?),
                _ => return None,
            });
        }
        Some(Word { joint, pieces })
    }
}
