//! Values out of a field's own pattern, so that a new institution needs data and no code.
//! Understands what login forms use: classes, groups, alternatives and counted repeats, anchored at both ends. Anything else
//! is refused by name rather than guessed at.

use super::draw::Draw;

/// Longest value made for a canary; long enough to search for, short enough for any form.
const LONGEST: usize = 32;
/// Characters beyond the minimum that a usual value may have.
const USUAL_SPREAD: usize = 4;

/// Why a pattern cannot be sampled.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PatternError {
    /// Not of the form `^...$`.
    #[error("the pattern must start with ^ and end with $")]
    NotAnchored,
    /// A construct beyond classes, groups, alternatives and counted repeats.
    #[error("the generator does not understand {0:?} at this place")]
    Unsupported(char),
    /// A bracket, parenthesis or brace stays open.
    #[error("the pattern ends inside a class, group or count")]
    Unfinished,
}

/// A parsed pattern.
pub(super) struct Pattern {
    alternatives: Vec<Sequence>,
}

type Sequence = Vec<Repeat>;

/// A piece and how often it may stand in a row.
struct Repeat {
    piece: Piece,
    min: usize,
    max: usize,
}

enum Piece {
    /// One of these characters.
    Class(Vec<u8>),
    /// One of these sequences.
    Group(Pattern),
}

impl Pattern {
    /// Reads an anchored pattern.
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        let inner = text.strip_prefix('^').and_then(|t| t.strip_suffix('$')).ok_or(PatternError::NotAnchored)?;
        let mut reader = Reader { rest: inner.chars().peekable() };
        let pattern = reader.alternatives()?;
        match reader.rest.next() {
            None => Ok(pattern),
            Some(left) => Err(PatternError::Unsupported(left)),
        }
    }

    /// A value that matches; `longest` asks for as many characters as allowed, up to a bound.
    pub(super) fn sample(&self, draw: &mut Draw, longest: bool) -> Vec<u8> {
        let mut out = Vec::new();
        self.sample_into(draw, longest, &mut out);
        out
    }

    fn sample_into(&self, draw: &mut Draw, longest: bool, out: &mut Vec<u8>) {
        let Some(sequence) = self.alternatives.get(draw.below(self.alternatives.len())) else {
            return;
        };
        for repeat in sequence {
            for _ in 0..repeat.times(draw, longest) {
                match &repeat.piece {
                    Piece::Class(letters) => out.extend(letters.get(draw.below(letters.len()))),
                    Piece::Group(group) => group.sample_into(draw, longest, out),
                }
            }
        }
    }
}

impl Repeat {
    fn times(&self, draw: &mut Draw, longest: bool) -> usize {
        let spread = self.max.saturating_sub(self.min);
        if longest {
            self.min.saturating_add(spread.min(LONGEST.saturating_sub(self.min)))
        } else {
            let choices = spread.min(USUAL_SPREAD).saturating_add(1);
            self.min.saturating_add(draw.below(choices))
        }
    }
}

/// The text still to be read.
struct Reader<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
}

impl Reader<'_> {
    fn alternatives(&mut self) -> Result<Pattern, PatternError> {
        let mut alternatives = vec![self.sequence()?];
        while self.rest.next_if_eq(&'|').is_some() {
            alternatives.push(self.sequence()?);
        }
        Ok(Pattern { alternatives })
    }

    fn sequence(&mut self) -> Result<Sequence, PatternError> {
        let mut sequence = Vec::new();
        while let Some(next) = self.rest.next_if(|c| !matches!(c, '|' | ')')) {
            let piece = match next {
                '[' => Piece::Class(self.class()?),
                '(' => {
                    let group = self.alternatives()?;
                    self.rest.next_if_eq(&')').ok_or(PatternError::Unfinished)?;
                    Piece::Group(group)
                }
                plain if is_plain(plain) => Piece::Class(vec![ascii(plain)?]),
                other => return Err(PatternError::Unsupported(other)),
            };
            let (min, max) = self.count()?;
            sequence.push(Repeat { piece, min, max });
        }
        Ok(sequence)
    }

    /// The inside of `[...]`: single characters and ranges, no escapes and no negation.
    fn class(&mut self) -> Result<Vec<u8>, PatternError> {
        let mut letters = Vec::new();
        loop {
            let from = self.rest.next().ok_or(PatternError::Unfinished)?;
            match from {
                ']' => return Ok(letters),
                '^' | '\\' | '[' => return Err(PatternError::Unsupported(from)),
                _ => {}
            }
            let to = if self.rest.next_if_eq(&'-').is_some() {
                self.rest.next().ok_or(PatternError::Unfinished)?
            } else {
                from
            };
            letters.extend(ascii(from)?..=ascii(to)?);
        }
    }

    /// `{n}` or `{n,m}`; once when absent.
    fn count(&mut self) -> Result<(usize, usize), PatternError> {
        if self.rest.next_if_eq(&'{').is_none() {
            return Ok((1, 1));
        }
        let min = self.number()?;
        let max = if self.rest.next_if_eq(&',').is_some() { self.number()? } else { min };
        self.rest.next_if_eq(&'}').ok_or(PatternError::Unfinished)?;
        Ok((min, max))
    }

    fn number(&mut self) -> Result<usize, PatternError> {
        let mut digits = String::new();
        while let Some(digit) = self.rest.next_if(char::is_ascii_digit) {
            digits.push(digit);
        }
        digits.parse().map_err(|_| PatternError::Unfinished)
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '@' | ' ')
}

fn ascii(c: char) -> Result<u8, PatternError> {
    u8::try_from(c).ok().filter(u8::is_ascii).ok_or(PatternError::Unsupported(c))
}
