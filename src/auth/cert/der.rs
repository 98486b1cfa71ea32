//! As much of DER as OCSP takes: elements one after the other, read and written.

/// One element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element<'a> {
    pub tag: u8,
    pub content: &'a [u8],
    /// With tag and length.
    pub whole: &'a [u8],
}

impl<'a> Element<'a> {
    /// What lies in it.
    pub fn inside(&self) -> Reader<'a> {
        Reader(self.content)
    }
}

/// Reads elements from the beginning on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// The next element; none at the end, and for what is no DER.
    pub fn any(&mut self) -> Option<Element<'a>> {
        let bytes = self.0;
        let (tag, first) = (*bytes.first()?, *bytes.get(1)?);
        // Tags of several bytes do not come up here.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (length, head) = match first {
            short @ 0..=0x7f => (usize::from(short), 2),
            long => {
                let count = usize::from(long & 0x7f);
                if !(1..=4).contains(&count) {
                    return None;
                }
                let digits = bytes.get(2..2 + count)?;
                (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), 2 + count)
            }
        };
        let whole = bytes.get(..head.checked_add(length)?)?;
        self.0 = &bytes[whole.len()..];
        Some(Element { tag, content: &whole[head..], whole })
    }

    /// The next element, if it has that tag.
    pub fn next(&mut self, tag: u8) -> Option<Element<'a>> {
        let mut ahead = *self;
        let found = ahead.any().filter(|element| element.tag == tag)?;
        *self = ahead;
        Some(found)
    }
}

/// An element of these parts.
pub(super) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut whole = vec![tag];
    match content.len() {
        short @ 0..=0x7f => whole.push(short as u8),
        long => {
            let digits: Vec<u8> = long.to_be_bytes().into_iter().skip_while(|digit| *digit == 0).collect();
            whole.push(0x80 | digits.len() as u8);
            whole.extend(digits);
        }
    }
    whole.extend(content);
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, 127, 128, 255, 256, 70_000] {
            let whole = element(4, &[&vec![7; length], &[]]);
            let mut reader = Reader(&whole);
            let found = reader.next(4).unwrap();
            assert_eq!((found.content.len(), found.whole.len(), reader.any()), (length, whole.len(), None));
        }
        let mut reader = Reader(&[2, 1, 5, 3, 0]);
        assert_eq!(reader.next(3), None, "another one stays");
        assert_eq!(reader.next(2).unwrap().content, [5]);
    }

    #[test]
    fn what_is_cut_off_is_nothing() {
        for bytes in [&[][..], &[4], &[4, 1], &[4, 0x81], &[4, 0x80, 0, 0], &[4, 0x85, 0, 0, 0, 0, 1, 1], &[0x1f, 1, 0]]
        {
            assert_eq!(Reader(bytes).any(), None, "{bytes:?}");
        }
    }
}
