//! Bounds in time as bounds on identifiers: a UUIDv7 begins with its time in milliseconds.

use jiff::Timestamp;
use uuid::Uuid;

use super::Filter;

/// The lowest identifier of the millisecond `time` is in.
pub fn first_id_at(time: Timestamp) -> Uuid {
    let millis = u128::try_from(time.as_millisecond()).unwrap_or(0);
    Uuid::from_u128(millis << 80)
}

impl Filter {
    /// The lowest identifier that passes.
    pub(super) fn lowest_id(&self) -> Option<Uuid> {
        let from = self.from?;
        // Times between two milliseconds belong to the next one.
        let up = i64::from(from.subsec_nanosecond() % 1_000_000 > 0);
        let from = Timestamp::from_millisecond(from.as_millisecond() + up).unwrap_or(from);
        Some(first_id_at(from))
    }

    /// Identifiers that pass are below this one.
    pub(super) fn below_id(&self) -> Option<Uuid> {
        let to = self.to.map(first_id_at);
        match (to, self.before) {
            (Some(to), Some(before)) => Some(to.min(before)),
            (to, before) => to.or(before),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_take_whole_milliseconds() {
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        let id = |millis: u128| Some(Uuid::from_u128(millis << 80));
        let filter = |from, to| Filter {
            from,
            to,
            ..Filter::default()
        };
        let whole = filter(
            at("1970-01-01T00:00:00.005Z"),
            at("1970-01-01T00:00:00.007Z"),
        );
        assert_eq!((whole.lowest_id(), whole.below_id()), (id(5), id(7)));
        let between = filter(at("1970-01-01T00:00:00.0051Z"), at("1969-01-01T00:00:00Z"));
        assert_eq!((between.lowest_id(), between.below_id()), (id(6), id(0)));
    }

    #[test]
    fn the_lower_of_two_bounds_holds() {
        let time = Timestamp::from_millisecond(9).unwrap();
        let below = |before: u128| {
            let filter = Filter {
                to: Some(time),
                before: Some(Uuid::from_u128(before)),
                ..Filter::default()
            };
            filter.below_id().unwrap().as_u128()
        };
        assert_eq!(below(3 << 80), 3 << 80);
        assert_eq!(below(10 << 80), 9 << 80);
    }
}
