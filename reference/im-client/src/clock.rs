//! The one clock of the program: the protocol's ticks count from the start of the client.

use tokio::time::Instant;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    epoch: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { epoch: Instant::now() }
    }

    pub(crate) fn now(&self) -> im_proto::Instant {
        let micros = self.epoch.elapsed().as_micros();
        im_proto::Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// Waits until the moment; without one, for ever.
    pub(crate) async fn sleep_until(&self, at: Option<im_proto::Instant>) {
        let Some(at) = at else { return std::future::pending().await };
        tokio::time::sleep(at.saturating_since(self.now())).await;
    }
}
