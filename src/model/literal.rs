//! The subset of Python literals that Ultralytics writes into ONNX metadata.

/// Parses the `names` dictionary: `{0: 'open', 1: "it's closed"}`, or a list of strings.
///
/// Returns the names ordered by index.
pub(super) fn names(text: &str) -> Result<Vec<String>, String> {
    let mut parser = Parser { rest: text.trim() };
    let names = if parser.take('{') {
        parser.dictionary()?
    } else {
        parser.list(Parser::string)?
    };
    parser.end()?;
    if names.is_empty() {
        Err("no names".into())
    } else {
        Ok(names)
    }
}

/// Parses `imgsz`: `[224, 224]` (height, width), `(224, 224)` or `224`.
pub(super) fn size(text: &str) -> Result<(u32, u32), String> {
    let mut parser = Parser { rest: text.trim() };
    let sides = match parser.rest.chars().next() {
        Some('[' | '(') => parser.list(Parser::integer)?,
        _ => vec![parser.integer()?],
    };
    parser.end()?;
    match sides[..] {
        [side] => Ok((side, side)),
        [height, width] => Ok((height, width)),
        _ => Err(format!(
            "{} numbers where one or two are expected",
            sides.len()
        )),
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn take(&mut self, token: char) -> bool {
        let trimmed = self.rest.trim_start();
        match trimmed.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: char) -> Result<(), String> {
        if self.take(token) {
            return Ok(());
        }
        let found: String = self.rest.trim_start().chars().take(12).collect();
        Err(format!("expected {token:?}, found {found:?}"))
    }

    fn end(&mut self) -> Result<(), String> {
        if self.rest.trim().is_empty() {
            Ok(())
        } else {
            Err("text after the end".into())
        }
    }

    fn integer(&mut self) -> Result<u32, String> {
        let text = self.rest.trim_start();
        let digits = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let number = text[..digits]
            .parse()
            .map_err(|_| "expected a whole number".to_owned())?;
        self.rest = &text[digits..];
        Ok(number)
    }

    fn dictionary(&mut self) -> Result<Vec<String>, String> {
        let mut entries = Vec::new();
        while !self.take('}') {
            let index = self.integer()?;
            self.expect(':')?;
            entries.push((index, self.string()?));
            if !self.take(',') {
                self.expect('}')?;
                break;
            }
        }
        entries.sort_by_key(|(index, _)| *index);
        let complete = entries
            .iter()
            .enumerate()
            .all(|(i, (index, _))| i as u64 == u64::from(*index));
        if !complete {
            return Err("the indices are not 0, 1, 2, …".into());
        }
        Ok(entries.into_iter().map(|(_, name)| name).collect())
    }

    fn list<T>(&mut self, item: fn(&mut Self) -> Result<T, String>) -> Result<Vec<T>, String> {
        let close = if self.take('(') {
            ')'
        } else {
            self.expect('[')?;
            ']'
        };
        let mut items = Vec::new();
        while !self.take(close) {
            items.push(item(self)?);
            if !self.take(',') {
                self.expect(close)?;
                break;
            }
        }
        Ok(items)
    }

    fn string(&mut self) -> Result<String, String> {
        let quote = if self.take('"') {
            '"'
        } else {
            self.expect('\'')?;
            '\''
        };
        let mut out = String::new();
        let mut chars = self.rest.chars();
        loop {
            match chars.next().ok_or("a name without closing quote")? {
                c if c == quote => break,
                '\\' => out.push(escape(&mut chars)?),
                c => out.push(c),
            }
        }
        self.rest = chars.as_str();
        Ok(out)
    }
}

fn escape(chars: &mut std::str::Chars<'_>) -> Result<char, String> {
    let digits = |count: usize, chars: &mut std::str::Chars<'_>| {
        let hex: String = chars.take(count).collect();
        let code = u32::from_str_radix(&hex, 16).map_err(|_| format!("bad escape {hex:?}"))?;
        char::from_u32(code).ok_or_else(|| format!("bad character {hex:?}"))
    };
    match chars.next() {
        Some('n') => Ok('\n'),
        Some('t') => Ok('\t'),
        Some('r') => Ok('\r'),
        Some('x') => digits(2, chars),
        Some('u') => digits(4, chars),
        Some('U') => digits(8, chars),
        Some(c @ ('\\' | '\'' | '"')) => Ok(c),
        other => Err(format!("unknown escape {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_python_prints_them() {
        assert_eq!(
            names("{0: 'aberta', 1: 'fechada'}").unwrap(),
            ["aberta", "fechada"]
        );
        assert_eq!(
            names(r#"{1: "O'Brien", 0: 'a "b" c:\\d \xe3 \u00e7'}"#).unwrap(),
            ["a \"b\" c:\\d ã ç", "O'Brien"]
        );
        assert_eq!(names("['x', 'y',]").unwrap(), ["x", "y"]);
        assert_eq!(names("{0: 'são, {joão}: 1'}").unwrap(), ["são, {joão}: 1"]);
    }

    #[test]
    fn broken_names_are_refused() {
        for text in [
            "",
            "{",
            "{0: 'a'",
            "{0: 'a}",
            "{0: a}",
            "{1: 'a'}",
            "{0: 'a'} x",
            "{}",
            "{0 'a'}",
            "{0: '\\q'}",
        ] {
            assert!(names(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("[224, 320]").unwrap(), (224, 320));
        assert_eq!(size("(64, 64)").unwrap(), (64, 64));
        assert_eq!(size("640").unwrap(), (640, 640));
        assert!(
            size("[1, 2, 3]").is_err()
                && size("[]").is_err()
                && size("[-1, 2]").is_err()
                && size("").is_err()
        );
    }
}
