//! Half-open spans of time and sorted sets of them.

use crate::{Length, Time};

/// `start <= t < end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// First moment.
    pub start: Time,
    /// First moment after it.
    pub end: Time,
}

impl Span {
    /// A span; empty where the end is not after the start.
    pub fn new(start: Time, end: Time) -> Self {
        Self {
            start,
            end: end.max(start),
        }
    }

    /// Its length.
    pub fn length(self) -> Length {
        self.end.saturating_sub(self.start)
    }

    /// True where it holds no moment.
    pub fn is_empty(self) -> bool {
        self.start >= self.end
    }

    /// The moments in both.
    pub fn intersection(self, other: Self) -> Self {
        Self::new(self.start.max(other.start), self.end.min(other.end))
    }

    /// Wider by so much on each side.
    pub fn widened(self, before: Length, after: Length) -> Self {
        Self::new(
            self.start.saturating_sub(before),
            self.end.saturating_add(after),
        )
    }
}

/// A set of moments: sorted spans that neither overlap nor touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spans(Vec<Span>);

impl Spans {
    /// The spans in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Span> {
        self.0.iter().copied()
    }

    /// True where it holds no moment.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a span.
    pub fn insert(&mut self, span: Span) {
        if span.is_empty() {
            return;
        }
        // Everything that overlaps or touches the new span becomes part of it.
        let first = self.0.partition_point(|old| old.end < span.start);
        let end = self.0.partition_point(|old| old.start <= span.end);
        let mut joined = span;
        if first < end {
            joined.start = joined.start.min(self.0[first].start);
            joined.end = joined.end.max(self.0[end - 1].end);
        }
        self.0.splice(first..end, [joined]);
    }

    /// The part within a span, with holes shorter than `hole` filled.
    pub fn within(&self, span: Span, hole: Length) -> Self {
        let mut out: Vec<Span> = Vec::new();
        let first = self.0.partition_point(|old| old.end <= span.start);
        for old in self.0[first..]
            .iter()
            .take_while(|old| old.start < span.end)
        {
            let part = old.intersection(span);
            match out.last_mut() {
                Some(last) if part.start - last.end < hole => last.end = part.end,
                _ => out.push(part),
            }
        }
        Self(out)
    }

    /// True where it holds every moment of a span.
    pub fn cover(&self, span: Span) -> bool {
        let at = self.0.partition_point(|old| old.end < span.end);
        span.is_empty() || self.0.get(at).is_some_and(|old| old.start <= span.start)
    }

    /// Total length.
    pub fn length(&self) -> Length {
        self.0.iter().map(|span| span.length()).sum()
    }
}

impl FromIterator<Span> for Spans {
    fn from_iter<I: IntoIterator<Item = Span>>(spans: I) -> Self {
        let mut set = Self::default();
        spans.into_iter().for_each(|span| set.insert(span));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spans() -> impl Strategy<Value = Vec<Span>> {
        let span =
            (0..200_i64, 0..40_i64).prop_map(|(start, length)| Span::new(start, start + length));
        proptest::collection::vec(span, 0..20)
    }

    proptest! {
        #[test]
        fn a_set_holds_exactly_the_moments_of_its_spans(spans in spans(), start in 0..240_i64, length in 0..50_i64) {
            let set: Spans = spans.iter().copied().collect();
            let holds = |t| spans.iter().any(|span| (span.start..span.end).contains(&t));
            for t in 0..250 {
                prop_assert_eq!(set.iter().any(|span| (span.start..span.end).contains(&t)), holds(t));
            }
            let ordered: Vec<_> = set.iter().collect();
            prop_assert!(ordered.windows(2).all(|pair| pair[0].end < pair[1].start));
            let range = Span::new(start, start + length);
            prop_assert_eq!(set.cover(range), (range.start..range.end).all(holds));
            let within = set.within(range, 1);
            prop_assert_eq!(within.length(), (range.start..range.end).filter(|t| holds(*t)).count() as i64);
        }
    }

    #[test]
    fn short_holes_are_filled() {
        let set: Spans = [Span::new(0, 10), Span::new(15, 20), Span::new(40, 50)]
            .into_iter()
            .collect();
        let filled: Vec<_> = set.within(Span::new(5, 45), 10).iter().collect();
        assert_eq!(filled, [Span::new(5, 20), Span::new(40, 45)]);
    }
}
