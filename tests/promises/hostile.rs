//! Clients that mean harm cost little, are got rid of, and do not keep others from being answered.

mod crowds;
mod heads;
mod http2;
mod slow;
mod smuggling;

use std::time::Duration;

use crate::support::load::{Counter, Load};
use crate::support::{App, picture};

/// Other clients, who must be answered all the time.
struct Others(Load);

impl Others {
    fn of(app: &App) -> Self {
        let pause = Duration::from_millis(20);
        let base = picture("jpeg-1x1.jpg");
        Self(Load::paced(app, 2, pause, &base, &Counter::default()))
    }

    /// Fails unless all of their requests were answered, and none slowly.
    async fn were_answered(self) {
        // Also after the attack.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let told = self.0.finish().await;
        assert_eq!((&told.refused[..], told.broken), (&[][..], 0));
        assert!(
            told.answered.len() > 5,
            "only {} answers",
            told.answered.len()
        );
        let slowest = told.quantile(1.0);
        println!(
            "{} answers meanwhile, the slowest in {slowest:?}",
            told.answered.len()
        );
        assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    }
}
