//! Whose code a stack trace points at: the innermost frame that is not of a library.

/// Frames of one event that are looked at.
const LINES_MAX: usize = 512;

/// Public name spaces of language runtimes and common frameworks on the JVM.
const JVM_LIBRARIES: [&str; 40] = [
    "java.",
    "javax.",
    "jakarta.",
    "jdk.",
    "sun.",
    "com.sun.",
    "kotlin.",
    "kotlinx.",
    "scala.",
    "groovy.",
    "clojure.",
    "akka.",
    "android.",
    "androidx.",
    "org.springframework.",
    "org.apache.",
    "org.hibernate.",
    "org.eclipse.",
    "org.jboss.",
    "org.slf4j.",
    "org.postgresql.",
    "org.junit.",
    "org.mybatis.",
    "io.netty.",
    "io.grpc.",
    "io.vertx.",
    "io.quarkus.",
    "io.micrometer.",
    "io.opentelemetry.",
    "io.lettuce.",
    "reactor.",
    "rx.",
    "okhttp3.",
    "feign.",
    "com.google.",
    "com.fasterxml.",
    "com.mysql.",
    "com.mongodb.",
    "com.zaxxer.",
    "ch.qos.",
];

enum Frame<'a> {
    /// Class, package or file, and whether it belongs to a library.
    Inner { owner: &'a str, library: bool },
    /// Frames from here on explain those before: `Caused by:`.
    Cause,
}

/// Languages that print the innermost frame last.
fn is_python(line: &str) -> bool {
    line.starts_with("Traceback (most recent call last)")
}

/// Class (JVM), package (Go) or file (Python, JavaScript) of the frame that owns a trace. A trace
/// of library frames only is owned by its innermost one.
pub fn trace_owner(body: &[u8]) -> Option<&str> {
    let (mut owner, mut fallback, mut python, mut goroutines) = (None, None, false, 0);
    for line in lines(body).take(LINES_MAX) {
        let line = line.trim_ascii();
        python |= is_python(line);
        goroutines += usize::from(line.starts_with("goroutine "));
        if goroutines > 1 {
            break; // the first goroutine is the one that failed
        }
        match frame(line, goroutines > 0) {
            Some(Frame::Cause) => (owner, fallback) = (None, fallback.filter(|_| python)),
            Some(Frame::Inner { owner: name, library: false }) if python || owner.is_none() => {
                owner = Some(name)
            }
            Some(Frame::Inner { owner: name, library: true }) if python || fallback.is_none() => {
                fallback = Some(name);
            }
            _ => {}
        }
    }
    owner.or(fallback)
}

/// Whether a record is one inner line of a stack trace, as writers leave them that send each line
/// on its own: a frame, or what stands around frames. What says what happened is none. Unlike
/// [`fold`](super::fold) it needs no order, which records of one moment do not have.
pub fn is_inner_line(body: &[u8]) -> bool {
    let Ok(line) = std::str::from_utf8(body.trim_ascii()) else { return false };
    if line.contains('\n') {
        return false;
    }
    let more = || {
        let count = line.strip_prefix("... ").and_then(|rest| rest.strip_suffix(" more"));
        count.is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
    };
    // Compilers and configurations name a place too, but no function.
    let is_frame = || !line.starts_with("File ") || line.contains(", in ");
    matches!(frame(line, false), Some(Frame::Inner { .. })) && is_frame()
        || is_python(line)
        || is_go(line)
        || is_dotnet(line)
        || is_ruby(line)
        || more()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// `goroutine 7 [running]:`, `/src/cart.go:9 +0x1d`, `created by main.serve in goroutine 1`, or a
/// call with nothing but addresses for arguments: `acme/cart.(*Cart).Add(0xc0001, {0x2, 0x3})`.
fn is_go(line: &str) -> bool {
    if let Some(rest) = line.strip_prefix("goroutine ") {
        return rest.ends_with("]:") && rest.split(' ').next().is_some_and(is_number);
    }
    if let Some(call) = line.strip_prefix("created by ") {
        let (call, goroutine) = call.split_once(" in goroutine ").unwrap_or((call, ""));
        return is_number(goroutine) || call.contains('/') && !call.contains(' ');
    }
    let place = line.rsplit_once(" +0x").map_or(line, |(place, _)| place);
    if let Some((file, row)) = place.rsplit_once(':')
        && file.ends_with(".go")
    {
        return is_number(row) && !file.contains(' ');
    }
    let Some((call, arguments)) = line.strip_suffix(')').and_then(|l| l.rsplit_once('(')) else {
        return false;
    };
    let is_address = |a: &str| {
        let a = a.trim_matches(['{', '}', '?', ' ']);
        a.is_empty() || a == "..." || a.strip_prefix("0x").is_some_and(is_hex)
    };
    call.contains('.') && !call.contains([' ', '=']) && arguments.split(',').all(is_address)
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// `at Acme.Cart.Add(String id) in /src/Cart.cs:line 9`.
fn is_dotnet(line: &str) -> bool {
    let row = line.strip_prefix("at ").and_then(|rest| rest.rsplit_once(":line "));
    row.is_some_and(|(place, row)| place.contains(") in ") && is_number(row))
}

/// `from /app/cart.rb:9:in 'add'`, in either of the quotes that it has had.
fn is_ruby(line: &str) -> bool {
    let Some((place, method)) = line.split_once(":in ") else { return false };
    let row = place.rsplit_once(':').filter(|(file, _)| file.ends_with(".rb"));
    row.is_some_and(|(_, row)| is_number(row)) && method.starts_with(['`', '\''])
}

/// Lines, also where a formatter has escaped the line ends.
fn lines(body: &[u8]) -> impl Iterator<Item = &str> {
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        Err(e) => std::str::from_utf8(&body[..e.valid_up_to()]).unwrap_or_default(),
    };
    text.split('\n').flat_map(|line| line.split("\\n"))
}

fn frame(line: &str, go: bool) -> Option<Frame<'_>> {
    if line.starts_with("Caused by:") {
        return Some(Frame::Cause);
    }
    if let Some(rest) = line.strip_prefix("at ").or_else(|| line.strip_prefix("\\tat ")) {
        return jvm(rest).or_else(|| javascript(rest));
    }
    if let Some(rest) = line.strip_prefix("File \"") {
        let (file, _) = rest.split_once("\", line ")?;
        let library =
            file.contains("-packages/") || file.contains("/lib/python") || file.starts_with('<');
        return Some(Frame::Inner { owner: file, library });
    }
    if go { golang(line) } else { None }
}

/// `com.acme.Cart.add(Cart.java:12)`, with a module or a class loader in front of it where there is
/// one.
fn jvm(rest: &str) -> Option<Frame<'_>> {
    let (method, place) = rest.split_once('(')?;
    let source = [
        ".java",
        ".kt",
        ".scala",
        ".groovy",
        ".clj",
        "Unknown Source",
        "Native Method",
        "<generated>",
    ];
    if !source.iter().any(|s| place.contains(s)) {
        return None;
    }
    let method = method.rsplit_once('/').map_or(method, |(_, m)| m);
    let (class, _) = method.rsplit_once('.')?;
    let class = class.split('$').next().unwrap_or(class);
    Some(Frame::Inner { owner: class, library: JVM_LIBRARIES.iter().any(|p| class.starts_with(p)) })
}

/// `add (/app/src/cart.js:12:7)` or `/app/src/cart.js:12:7`.
fn javascript(rest: &str) -> Option<Frame<'_>> {
    let place = match rest.rsplit_once('(') {
        Some((_, place)) => place.strip_suffix(')')?,
        None => rest.strip_prefix("async ").unwrap_or(rest),
    };
    let mut parts = place.rsplitn(3, ':');
    let (column, row, file) = (parts.next()?, parts.next()?, parts.next()?);
    if !is_number(column) || !is_number(row) || file.is_empty() {
        return None;
    }
    let library =
        file.contains("node_modules/") || file.starts_with("node:") || !file.contains(['/', '\\']);
    Some(Frame::Inner { owner: file.strip_prefix("file://").unwrap_or(file), library })
}

/// `github.com/acme/shop/cart.(*Cart).Add(0xc000, 0x1)`: the package.
fn golang(line: &str) -> Option<Frame<'_>> {
    let line = line.strip_prefix("created by ").unwrap_or(line);
    let (call, arguments) = line.rsplit_once('(')?;
    if !arguments.ends_with(')') || line.contains(' ') && !arguments.contains(", ") {
        return None;
    }
    let base = call.rfind('/').map_or(0, |i| i + 1);
    let dot = base + call[base..].find('.')?;
    let package = &call[..dot];
    // Packages of the standard library have no domain in their path.
    let library = package != "main" && !package.split('/').next()?.contains('.');
    (!package.is_empty()).then_some(Frame::Inner {
        owner: package,
        library: library || package.contains("/vendor/"),
    })
}

/// The line of an event that says what happened: the first, but the last of a Python traceback.
pub(super) fn headline(body: &[u8]) -> &[u8] {
    if !body.starts_with(b"Traceback (most recent call last)") {
        return body;
    }
    let body = body.trim_ascii_end();
    body.iter().rposition(|b| *b == b'\n').map_or(body, |i| &body[i + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, owner: Option<&str>) {
        assert_eq!(trace_owner(body.as_bytes()), owner);
    }

    #[test]
    fn jvm_cause_beats_wrapper() {
        check(
            "ERROR checkout failed\norg.acme.WrapException: x\n\
             \tat com.acme.web.Api.post(Api.java:10)\n\
             Caused by: java.lang.NullPointerException\n\
             \tat java.util.Objects.requireNonNull(Objects.java:1)\n\
             \tat app//com.acme.cart.Store$Inner.get(Store.java:7)\n\t... 12 more",
            Some("com.acme.cart.Store"),
        );
    }

    #[test]
    fn library_only_trace_is_owned_by_its_innermost_frame() {
        check(
            "x\n at java.net.Socket.connect(Socket.java:1)\n at org.apache.http.A.b(A.java:2)",
            Some("java.net.Socket"),
        );
    }

    #[test]
    fn python_is_innermost_last() {
        check(
            "Traceback (most recent call last):\n  \
             File \"/app/api.py\", line 3, in post\n    x()\n  \
             File \"/app/cart.py\", line 9, in add\n    y()\n  \
             File \"/usr/lib/python3.11/json/__init__.py\", line 1, in loads\nValueError: bad",
            Some("/app/cart.py"),
        );
    }

    #[test]
    fn go_and_node() {
        check(
            "panic: nil map\n\ngoroutine 7 [running]:\n\
             runtime.panicmem(...)\n\t/go/src/panic.go:1\n\
             github.com/acme/shop/cart.(*Cart).Add(0xc0001, 0x2)\n\
             \t/src/cart.go:9 +0x1d\nmain.main()\n",
            Some("github.com/acme/shop/cart"),
        );
        check(
            "TypeError: x is undefined\n    at parse (node:internal/url:5:1)\n    \
             at q (/app/node_modules/pg/lib/a.js:1:2)\n    at Cart.add (/app/src/cart.js:12:7)",
            Some("/app/src/cart.js"),
        );
    }

    #[test]
    fn inner_lines_are_frames_and_what_stands_around_them() {
        for line in [
            "\tat com.acme.cart.Store.get(Store.java:7)",
            "at java.base/java.lang.Thread.run(Thread.java:840)",
            "    at Cart.add (/app/src/cart.js:12:7)",
            "  File \"/app/cart.py\", line 9, in add",
            "Traceback (most recent call last):",
            "\t... 12 more",
            "goroutine 7 [running]:",
            "github.com/acme/shop/cart.(*Cart).Add(0xc0001, {0x2, 0x3})",
            "runtime.panicmem(...)",
            "main.main()",
            "\t/src/cart.go:9 +0x1d",
            "created by net/http.(*Server).Serve in goroutine 1",
            "   at Acme.Cart.Add(String id) in /src/Cart.cs:line 9",
            "\tfrom /app/cart.rb:9:in `add'",
        ] {
            assert!(is_inner_line(line.as_bytes()), "{line}");
        }
        for line in [
            "",
            "at 12:00 all is well",
            "Caused by: java.io.IOException: reset",
            "java.io.IOException: reset",
            "... and more",
            "goroutine 7 is late",
            "created by the shop. It is new",
            "created by jane.doe",
            "error in cart.go: no cart",
            "cart.checkout took (5 ms)",
            "added cart.item(7)",
            "failed in cart.rb at 12:in the morning",
            "File \"/etc/app/rules.conf\", line 12: ERROR unknown key colour",
            "failed\n\tat com.acme.cart.Store.get(Store.java:7)",
        ] {
            assert!(!is_inner_line(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn plain_text_has_no_owner() {
        check("started in 5 ms (pid 7)\nat 12:00 all is well", None);
        check("", None);
    }
}
