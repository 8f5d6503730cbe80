//! What a UDF's source says of its function: name, form and types.
//!
//! Arroyo reads the same text with a full Rust parser. This one reads only the head of the `#[udf]`
//! function and refuses whatever it does not know, so what is accepted here means the same there.

use arrow::datatypes::DataType;

use super::tokens::{Token, tokens};
use crate::error::Error;

const ARGUMENTS: &str = "i64, f64, &str, Option<i64>, Option<f64>, Option<&str>, Vec<i64>, \
                         Vec<f64>, Vec<Option<i64>>, Vec<Option<f64>>";
const RESULTS: &str = "i64, f64, String, Option<i64>, Option<f64>, Option<String>";

/// The head of a `#[udf]` function.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Declaration {
    pub name: String,
    pub form: Form,
    /// One or more; of an aggregate, the types of the elements.
    pub arguments: Vec<Primitive>,
    pub result: Primitive,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    Scalar,
    /// Every argument is a `Vec`.
    Aggregate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Primitive {
    Int64,
    Float64,
    Utf8,
}

impl Primitive {
    pub fn data_type(self) -> DataType {
        match self {
            Primitive::Int64 => DataType::Int64,
            Primitive::Float64 => DataType::Float64,
            Primitive::Utf8 => DataType::Utf8,
        }
    }
}

impl Declaration {
    /// Reads the one function that `source` marks with `#[udf]`; other functions, modules and
    /// comments may surround it.
    pub fn parse(source: &str) -> Result<Self, Error> {
        let tokens = tokens(source);
        let marks: Vec<usize> = tokens
            .windows(3)
            .enumerate()
            .filter(|(_, window)| window.iter().map(|token| token.text).eq(["#", "[", "udf"]))
            .map(|(index, _)| index)
            .collect();
        match marks[..] {
            [mark] => Head { tokens: &tokens[mark..], line: tokens[mark].line }.declaration(),
            _ => Err(Error::UdfCount { count: marks.len() }),
        }
    }
}

/// What is left to read; `line` is that of the token read last.
struct Head<'a> {
    tokens: &'a [Token<'a>],
    line: usize,
}

impl Head<'_> {
    fn declaration(mut self) -> Result<Declaration, Error> {
        while self.take_if("#") {
            self.skip_brackets("[", "]")?;
        }
        if self.take_if("pub") && self.peek() == "(" {
            self.skip_brackets("(", ")")?;
        }
        if self.peek() == "async" {
            return Err(self.unsupported("an async UDF", "only Arroyo runs it; drop `async`"));
        }
        self.take("fn", "`fn` after #[udf]")?;
        let name = self.word("the function's name")?;
        if self.peek() == "<" {
            return Err(self.unsupported("a generic UDF", "write the types out"));
        }
        let (form, arguments) = self.arguments()?;
        let arrow = "`-> TYPE`, for a UDF returns a value";
        self.take("-", arrow)?;
        self.take(">", arrow)?;
        let line = self.next_line();
        let found = self.type_text(&["{", ";", "where"]);
        let Some(result) = result_type(&found) else {
            let (place, supported) = ("result", RESULTS);
            return Err(Error::UdfType { line, found, place, supported });
        };
        self.take("{", "the function's body")?;
        Ok(Declaration { name, form, arguments, result })
    }

    fn arguments(&mut self) -> Result<(Form, Vec<Primitive>), Error> {
        self.take("(", "`(`")?;
        let (mut forms, mut arguments) = (Vec::new(), Vec::new());
        while !self.take_if(")") {
            self.take_if("mut");
            self.word("an argument's name")?;
            self.take(":", "`:` and the argument's type")?;
            let line = self.next_line();
            let found = self.type_text(&[",", ")"]);
            let Some((form, primitive)) = argument_type(&found) else {
                let (place, supported) = ("argument", ARGUMENTS);
                return Err(Error::UdfType { line, found, place, supported });
            };
            forms.push(form);
            arguments.push(primitive);
            if !self.take_if(",") && self.peek() != ")" {
                return Err(self.syntax("`,` or `)`"));
            }
        }
        match forms.first() {
            None => Err(self.unsupported("a UDF without arguments", "give it one")),
            Some(&form) if forms.iter().all(|&other| other == form) => Ok((form, arguments)),
            Some(_) => Err(self.unsupported(
                "a mix of `Vec` and single arguments",
                "make all of them `Vec` (an aggregate) or none (a scalar function)",
            )),
        }
    }

    /// The text of a type without its spaces, up to one of `ends` outside its own brackets.
    fn type_text(&mut self, ends: &[&str]) -> String {
        let (mut text, mut depth) = (String::new(), 0usize);
        while let Some((token, rest)) = self.tokens.split_first() {
            if depth == 0 && ends.contains(&token.text) {
                break;
            }
            match token.text {
                "<" | "(" | "[" => depth += 1,
                ">" | ")" | "]" => depth = depth.saturating_sub(1),
                _ => {}
            }
            text.push_str(token.text);
            (self.line, self.tokens) = (token.line, rest);
        }
        text
    }

    fn skip_brackets(&mut self, open: &'static str, close: &'static str) -> Result<(), Error> {
        self.take(open, open)?;
        let mut depth = 1;
        while depth > 0 {
            match self.peek() {
                "" => return Err(self.syntax(close)),
                text if text == open => depth += 1,
                text if text == close => depth -= 1,
                _ => {}
            }
            self.advance();
        }
        Ok(())
    }

    fn word(&mut self, expected: &'static str) -> Result<String, Error> {
        let text = self.peek().to_owned();
        if !text.starts_with(|c: char| c.is_alphabetic() || c == '_') {
            return Err(self.syntax(expected));
        }
        self.advance();
        Ok(text)
    }

    fn take(&mut self, text: &str, expected: &'static str) -> Result<(), Error> {
        if self.take_if(text) { Ok(()) } else { Err(self.syntax(expected)) }
    }

    fn take_if(&mut self, text: &str) -> bool {
        let found = self.peek() == text;
        if found {
            self.advance();
        }
        found
    }

    /// The next token, empty at the end of the source.
    fn peek(&self) -> &str {
        self.tokens.first().map_or("", |token| token.text)
    }

    fn next_line(&self) -> usize {
        self.tokens.first().map_or(self.line, |token| token.line)
    }

    fn advance(&mut self) {
        if let Some((token, rest)) = self.tokens.split_first() {
            (self.line, self.tokens) = (token.line, rest);
        }
    }

    fn syntax(&self, expected: &'static str) -> Error {
        let found = match self.peek() {
            "" => "the end of the source",
            text => text,
        };
        Error::UdfSyntax { line: self.next_line(), expected, found: found.to_owned() }
    }

    fn unsupported(&self, feature: &'static str, remedy: &'static str) -> Error {
        Error::UdfUnsupported { line: self.line, feature, remedy }
    }
}

fn argument_type(text: &str) -> Option<(Form, Primitive)> {
    Some(match text {
        "i64" | "Option<i64>" => (Form::Scalar, Primitive::Int64),
        "f64" | "Option<f64>" => (Form::Scalar, Primitive::Float64),
        "&str" | "Option<&str>" => (Form::Scalar, Primitive::Utf8),
        "Vec<i64>" | "Vec<Option<i64>>" => (Form::Aggregate, Primitive::Int64),
        "Vec<f64>" | "Vec<Option<f64>>" => (Form::Aggregate, Primitive::Float64),
        _ => return None,
    })
}

fn result_type(text: &str) -> Option<Primitive> {
    Some(match text {
        "i64" | "Option<i64>" => Primitive::Int64,
        "f64" | "Option<f64>" => Primitive::Float64,
        "String" | "Option<String>" => Primitive::Utf8,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{Declaration, Form, Primitive};

    fn check(source: &str, name: &str, form: Form, arguments: &[Primitive], result: Primitive) {
        let expected =
            Declaration { name: name.to_owned(), form, arguments: arguments.to_vec(), result };
        assert_eq!(Declaration::parse(source).unwrap(), expected);
    }

    fn check_refused(source: &str, label: &str, message: &str) {
        let error = Declaration::parse(source).unwrap_err();
        assert_eq!(error.label(), label, "{error}");
        assert!(error.to_string().contains(message), "{error}");
    }

    #[test]
    fn reads_scalar_functions() {
        use Primitive::{Float64, Int64, Utf8};
        check("#[udf] fn f(a: i64) -> i64 { a }", "f", Form::Scalar, &[Int64], Int64);
        check(
            "#[udf]\n#[inline]\npub(crate) fn g(\nmut a: & str, _: Option< f64 >,\n) \
             -> Option<String> {}",
            "g",
            Form::Scalar,
            &[Utf8, Float64],
            Utf8,
        );
    }

    #[test]
    fn reads_aggregates() {
        use Primitive::{Float64, Int64};
        check(
            "#[udf] fn f(t: Vec<Option<i64>>, v: Vec<f64>) -> f64 {}",
            "f",
            Form::Aggregate,
            &[Int64, Float64],
            Float64,
        );
    }

    #[test]
    fn looks_past_everything_else_in_the_file() {
        let source = r##"/*
[dependencies]
serde = "1"
*/
//! #[udf] fn not_this(a: i64) -> i64
use arroyo_udf_plugin::udf;
const TEXT: &str = "#[udf] fn nor_this() {}";
mod inner { pub fn helper<'a>(x: &'a str) -> char { 'x' } }
#[udf(unordered, timeout = "5s")]
fn this(a: f64) -> Option<f64> { Some(a) }
"##;
        check(source, "this", Form::Scalar, &[Primitive::Float64], Primitive::Float64);
    }

    #[test]
    fn refuses_anything_but_one_function() {
        check_refused("fn f(a: i64) -> i64 {}", "udf_count", "marks 0 functions");
        let two = "#[udf] fn f(a: i64) -> i64 {} #[udf] fn g(a: i64) -> i64 {}";
        check_refused(two, "udf_count", "marks 2 functions");
    }

    #[test]
    fn refuses_types_that_do_not_cross_and_says_which_do() {
        for (found, hint) in [
            ("bool", "use one of i64, f64, &str"),
            ("SystemTime", "line 2"),
            ("String", "&str"),
            ("Vec<&str>", "Vec<Option<f64>>"),
            ("(i64,i64)", "argument"),
            ("&'a str", "`&'astr`"),
        ] {
            let source = format!("#[udf]\nfn f(a: {found}) -> i64 {{}}");
            check_refused(&source, "udf_type", hint);
        }
        check_refused("#[udf] fn f(a: i64) -> &str {}", "udf_type", "Option<String>");
        check_refused("#[udf] fn f(a: i64) -> Vec<f64> {}", "udf_type", "`Vec<f64>`");
    }

    #[test]
    fn refuses_functions_that_no_plugin_can_have() {
        check_refused("#[udf] async fn f(a: i64) -> i64 {}", "udf_unsupported", "async");
        check_refused("#[udf] fn f<T>(a: T) -> i64 {}", "udf_unsupported", "generic");
        check_refused("#[udf] fn f() -> i64 {}", "udf_unsupported", "without arguments");
        check_refused("#[udf] fn f(a: Vec<f64>, b: f64) -> i64 {}", "udf_unsupported", "mix");
    }

    #[test]
    fn says_where_the_text_is_not_a_function() {
        check_refused("#[udf]\nstruct S;", "udf_syntax", "line 2 of the UDF source: expected `fn`");
        check_refused("#[udf] fn f(a: i64) {}", "udf_syntax", "-> TYPE");
        check_refused("#[udf] fn f((a, b): i64) -> i64 {}", "udf_syntax", "argument's name");
        check_refused("#[udf] fn f(a: i64) -> i64 where i64: Copy {}", "udf_syntax", "`where`");
        check_refused("#[udf] fn f(a", "udf_syntax", "the end of the source");
        check_refused("#[udf", "udf_syntax", "the end of the source");
    }
}
