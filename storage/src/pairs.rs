//! Words of scripts that put no space between them: every two neighbouring characters are one, as
//! in Lucene's `CJKBigramFilter`. A question finds what shares pairs with it.

use tantivy::tokenizer::{Token, TokenFilter, TokenStream, Tokenizer};

/// Chinese characters, kana and Hangul.
fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{3040}'..='\u{30FF}' | '\u{31F0}'..='\u{31FF}' | '\u{3400}'..='\u{4DBF}'
        | '\u{4E00}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7AF}' | '\u{F900}'..='\u{FAFF}'
        | '\u{FF66}'..='\u{FF9F}' | '\u{20000}'..='\u{3FFFF}')
}

/// The words in a run of letters and digits: the run itself, but pairs where it is of such a
/// script, and a lone character as it stands.
pub fn words(run: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = run;
    while let Some(first) = rest.chars().next() {
        let unspaced = is_unspaced(first);
        let end = rest.find(|c| is_unspaced(c) != unspaced).unwrap_or(rest.len());
        let (part, behind) = rest.split_at(end);
        rest = behind;
        let starts: Vec<usize> = part.char_indices().map(|(at, _)| at).collect();
        if !unspaced || starts.len() == 1 {
            out.push(part);
            continue;
        }
        let ends = starts.iter().copied().skip(2).chain([part.len()]);
        out.extend(starts.iter().zip(ends).map(|(start, end)| &part[*start..end]));
    }
    out
}

/// Cuts the tokens of another tokenizer into [`words`].
#[derive(Clone)]
pub(crate) struct Pairs;

impl TokenFilter for Pairs {
    type Tokenizer<T: Tokenizer> = Cutting<T>;

    fn transform<T: Tokenizer>(self, inner: T) -> Cutting<T> {
        Cutting { inner }
    }
}

#[derive(Clone)]
pub(crate) struct Cutting<T> {
    inner: T,
}

impl<T: Tokenizer> Tokenizer for Cutting<T> {
    type TokenStream<'a> = Cut<T::TokenStream<'a>>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Self::TokenStream<'a> {
        let inner = self.inner.token_stream(text);
        Cut { inner, token: Token::default(), waiting: Vec::new() }
    }
}

pub(crate) struct Cut<S> {
    inner: S,
    token: Token,
    /// Parts of the last token that are yet to come, in reverse.
    waiting: Vec<Token>,
}

impl<S: TokenStream> TokenStream for Cut<S> {
    fn advance(&mut self) -> bool {
        while self.waiting.is_empty() {
            if !self.inner.advance() {
                return false;
            }
            let whole = self.inner.token();
            let part = |word: &str| Token { text: word.to_owned(), ..whole.clone() };
            self.waiting.extend(words(&whole.text).into_iter().rev().map(part));
        }
        self.waiting.pop().map(|token| self.token = token).is_some()
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scripts_without_spaces_are_cut() {
        assert_eq!(words("filesystem"), ["filesystem"]);
        assert_eq!(words("磁盘空间"), ["磁盘", "盘空", "空间"]);
        assert_eq!(words("Redisの遅延v2"), ["Redis", "の遅", "遅延", "v2"]);
        assert_eq!((words("慢"), words("")), (vec!["慢"], vec![]));
    }
}
