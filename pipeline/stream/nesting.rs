//! A bound on how deep an expression is, known before it is parsed: planners and even destructors
//! recurse into operators, and a chain of thousands of them overflows the stack.

use datafusion::sql::sqlparser::dialect::Dialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

/// Operators that one item of a list may hold, those that stand around its parentheses included.
pub const OPERATORS_MAX: usize = 500;

/// Whether a text holds an operator too many; what is no SQL at all is for the parser to refuse.
pub fn is_too_deep(dialect: &dyn Dialect, sql: &str) -> bool {
    let tokens = Tokenizer::new(dialect, sql).tokenize_with_location();
    tokens.is_ok_and(|tokens| too_deep(&tokens).is_some())
}

/// Place of the first operator that is one too many.
pub fn too_deep(tokens: &[TokenWithSpan]) -> Option<Location> {
    // Operators since the last comma, by open parenthesis.
    let mut open = vec![0];
    let mut total = 0;
    for token in tokens {
        let deepest = open.len() - 1;
        match &token.token {
            Token::LParen => open.push(0),
            Token::RParen if deepest > 0 => total -= open.pop().unwrap_or(0),
            Token::Comma | Token::SemiColon => total -= std::mem::take(&mut open[deepest]),
            other if is_operator(other) => {
                open[deepest] += 1;
                total += 1;
            }
            _ => {}
        }
        if total > OPERATORS_MAX {
            return Some(token.span.start);
        }
    }
    None
}

fn is_operator(token: &Token) -> bool {
    use Keyword::*;
    match token {
        Token::Word(w) => matches!(
            w.keyword,
            AND | OR
                | XOR
                | NOT
                | IS
                | IN
                | BETWEEN
                | LIKE
                | ILIKE
                | RLIKE
                | REGEXP
                | SIMILAR
                | DIV
                | AT
                | COLLATE
                | OVERLAPS
                | OPERATOR
                | MEMBER
                | NOTNULL
                | JOIN
                | UNION
                | EXCEPT
                | INTERSECT
                | MINUS
        ),
        Token::EOF
        | Token::Whitespace(_)
        | Token::Number(..)
        | Token::Char(_)
        | Token::SingleQuotedString(_)
        | Token::DoubleQuotedString(_)
        | Token::Placeholder(_)
        | Token::Period
        | Token::RParen
        | Token::RBracket
        | Token::RBrace => false,
        _ => true,
    }
}
