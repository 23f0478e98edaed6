//! Pictures from the descriptions the motion vectors carry, such as
//! `200x356: (x+y)%200+20; from frame 10 on rows 60..119, cols 8(n-10)..8(n-10)+59 are 250; 40 frames` or
//! `100x100 all 0, then top half 255`.

/// Frames as described.
#[derive(Debug, Clone)]
pub struct Frames {
    pub width: usize,
    pub height: usize,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    /// A value per pixel and frame, and rectangles over it.
    Formula { base: String, rects: Vec<Rect> },
    /// One step per frame, each painting over the one before; the last one stays.
    Steps(Vec<String>),
}

#[derive(Debug, Clone)]
struct Rect {
    from: i64,
    to: i64,
    rows: (String, String),
    columns: (String, String),
    value: String,
}

impl Frames {
    /// Reads a description; `None` for one in other words.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_digit() && c != 'x')?;
        let (height, width) = text[..end].split_once('x')?;
        let (height, width) = (height.parse().ok()?, width.parse().ok()?);
        let rest = text[end..].trim_start_matches([':', ' ']);
        let frames = Self {
            width,
            height,
            kind: if rest.starts_with("all ") && !rest.contains(';') {
                Kind::Steps(rest.split(", then ").map(|s| s.trim().to_owned()).collect())
            } else {
                formula(rest)?
            },
        };
        // Every expression must be readable, so that a description in other words is noticed here.
        let mut plane = vec![0; width.checked_mul(height).filter(|n| *n <= 1 << 26)?];
        frames.paint(0, &mut plane)?;
        Some(frames)
    }

    /// Paints frame `n`.
    pub fn paint(&self, n: i64, plane: &mut [u8]) -> Option<()> {
        match &self.kind {
            Kind::Steps(steps) => {
                let last = (n as usize).min(steps.len() - 1);
                for step in &steps[..=last] {
                    self.paint_step(step, plane)?;
                }
                // Steps not reached yet are read all the same.
                let mut scratch = plane.to_vec();
                steps
                    .iter()
                    .try_for_each(|step| self.paint_step(step, &mut scratch))
            }
            Kind::Formula { base, rects } => {
                for y in 0..self.height {
                    for x in 0..self.width {
                        plane[y * self.width + x] = byte(value(base, [x as i64, y as i64, n])?);
                    }
                }
                for rect in rects {
                    let at = |text: &str| value(text, [0, 0, n]).map(|v| v.floor() as i64);
                    let (top, bottom) = (at(&rect.rows.0)?, at(&rect.rows.1)?);
                    let (left, right) = (at(&rect.columns.0)?, at(&rect.columns.1)?);
                    let paint = byte(at(&rect.value)? as f64);
                    if n < rect.from || n > rect.to {
                        continue;
                    }
                    for y in top.max(0)..=bottom.min(self.height as i64 - 1) {
                        for x in left.max(0)..=right.min(self.width as i64 - 1) {
                            plane[y as usize * self.width + x as usize] = paint;
                        }
                    }
                }
                Some(())
            }
        }
    }

    fn paint_step(&self, step: &str, plane: &mut [u8]) -> Option<()> {
        let (place, paint) = step.rsplit_once(' ')?;
        let paint: u8 = paint.parse().ok()?;
        let (w, h) = (self.width, self.height);
        let (rows, columns) = match place {
            "all" => (0..h, 0..w),
            "top half" => (0..h / 2, 0..w),
            "bottom half" => (h / 2..h, 0..w),
            "left half" => (0..h, 0..w / 2),
            "right half" => (0..h, w / 2..w),
            _ => return None,
        };
        for y in rows {
            plane[y * w..][columns.clone()].fill(paint);
        }
        Some(())
    }
}

fn formula(text: &str) -> Option<Kind> {
    let mut clauses = text.split(';').map(str::trim);
    let base = clauses.next()?;
    let base = base.strip_prefix("all ").unwrap_or(base).to_owned();
    let mut rects = Vec::new();
    for clause in clauses.filter(|c| !c.is_empty()) {
        if clause.ends_with(" frames") {
            continue;
        }
        rects.push(rect(clause)?);
    }
    Some(Kind::Formula { base, rects })
}

/// `[from frame A on | frames A..B] rows R..R, cols C..C are V`
fn rect(clause: &str) -> Option<Rect> {
    let (when, rest) = clause.split_at(clause.find("rows ")?);
    let when = when.trim().trim_end_matches(',');
    let (from, to) = if when.is_empty() {
        (0, i64::MAX)
    } else if let Some(from) = when.strip_prefix("from frame ") {
        (from.trim_end_matches(" on").trim().parse().ok()?, i64::MAX)
    } else {
        range(when.strip_prefix("frames ")?)
            .and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)))?
    };
    let (rows, rest) = rest.strip_prefix("rows ")?.split_once(", cols ")?;
    let (columns, value) = rest.split_once(" are ")?;
    Some(Rect {
        from,
        to,
        rows: range(rows)?,
        columns: range(columns)?,
        value: value.trim().to_owned(),
    })
}

fn range(text: &str) -> Option<(String, String)> {
    let (from, to) = text.split_once("..")?;
    Some((from.trim().to_owned(), to.trim().to_owned()))
}

fn byte(value: f64) -> u8 {
    (value.floor() as i64).rem_euclid(256) as u8
}

/// Value of an expression in x, y and n with + - * / // % and brackets; `8(n-1)` multiplies.
fn value(text: &str, variables: [i64; 3]) -> Option<f64> {
    let mut reader = Reader {
        text: text.as_bytes(),
        at: 0,
        variables,
    };
    let value = reader.sum()?;
    reader.skip();
    (reader.at == reader.text.len()).then_some(value)
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    variables: [i64; 3],
}

impl Reader<'_> {
    fn skip(&mut self) {
        while self.text.get(self.at) == Some(&b' ') {
            self.at += 1;
        }
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip();
        let found = self.text[self.at..].starts_with(token.as_bytes());
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn sum(&mut self) -> Option<f64> {
        let mut value = self.product()?;
        loop {
            if self.eat("+") {
                value += self.product()?;
            } else if self.eat("-") {
                value -= self.product()?;
            } else {
                return Some(value);
            }
        }
    }

    fn product(&mut self) -> Option<f64> {
        let mut value = self.factor()?;
        loop {
            if self.eat("*") {
                value *= self.factor()?;
            } else if self.eat("//") {
                value = (value / self.factor()?).floor();
            } else if self.eat("/") {
                value /= self.factor()?;
            } else if self.eat("%") {
                let by = self.factor()?;
                value -= by * (value / by).floor();
            } else {
                self.skip();
                match self.text.get(self.at) {
                    Some(b'(' | b'x' | b'y' | b'n') => value *= self.factor()?,
                    _ => return Some(value),
                }
            }
        }
    }

    fn factor(&mut self) -> Option<f64> {
        if self.eat("-") {
            return Some(-self.factor()?);
        }
        if self.eat("(") {
            let value = self.sum()?;
            return self.eat(")").then_some(value);
        }
        for (name, value) in ["x", "y", "n"].iter().zip(self.variables) {
            if self.eat(name) {
                return Some(value as f64);
            }
        }
        let digits = self.text[self.at..]
            .iter()
            .take_while(|c| c.is_ascii_digit())
            .count();
        let number = std::str::from_utf8(&self.text[self.at..self.at + digits]).ok()?;
        self.at += digits;
        number.parse().ok()
    }
}
