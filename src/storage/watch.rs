//! The receivers of `Backend::watch`, for backends that see every change themselves.

use tokio::sync::mpsc;

use super::Event;

/// Events that a slow watcher may fall behind; the last place is kept for [`Event::Lagged`].
const BUFFER: usize = 1024;

/// Who is told what.
#[derive(Default)]
pub(super) struct Watchers(Vec<Watcher>);

struct Watcher {
    prefix: String,
    sender: mpsc::Sender<Event>,
    lagging: bool,
}

impl Watchers {
    /// A receiver of the changes below `prefix` from now on.
    pub(super) fn add(&mut self, prefix: &str) -> mpsc::Receiver<Event> {
        let (sender, receiver) = mpsc::channel(BUFFER);
        self.0.push(Watcher { prefix: prefix.to_owned(), sender, lagging: false });
        receiver
    }

    /// Tells the watchers of `key`. The change must be visible to readers already.
    pub(super) fn notify(&mut self, key: &str, event: &Event) {
        self.0.retain_mut(|watcher| {
            if key.starts_with(&watcher.prefix) {
                watcher.tell(event);
            }
            !watcher.sender.is_closed()
        });
    }
}

impl Watcher {
    /// `Lagged` is queued as soon as the room ends, not when there is room again: no later change may ever come. While it
    /// waits there, what is left out is read again by whoever takes it; once it is taken the queue is empty.
    fn tell(&mut self, event: &Event) {
        if self.lagging && self.sender.capacity() < self.sender.max_capacity() {
            return;
        }
        self.lagging = self.sender.capacity() == 1;
        let event = if self.lagging { Event::Lagged } else { event.clone() };
        // It fails only if the receiver is gone, which `notify` sees next.
        let _ = self.sender.try_send(event);
    }
}

/// Events as `open` passes them on, in the same order. Must be called within a runtime.
pub(super) fn relay(
    mut events: mpsc::Receiver<Event>,
    open: impl Fn(Event) -> Option<Event> + Send + 'static,
) -> mpsc::Receiver<Event> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = sender.closed() => None,
            };
            let Some(event) = event else { return };
            if let Some(event) = open(event) {
                // It fails only if the receiver is gone, which the next round sees.
                let _ = sender.send(event).await;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watcher_that_falls_behind_is_told_without_any_further_change() {
        let mut watchers = Watchers::default();
        let mut events = watchers.add("a/");
        for number in 0..2 * BUFFER {
            watchers.notify("a/k", &Event::Delete(number.to_string()));
        }
        for number in 0..BUFFER - 1 {
            assert_eq!(events.try_recv().unwrap(), Event::Delete(number.to_string()));
            watchers.notify("a/k", &Event::Delete("dropped".into()));
        }
        assert_eq!(events.try_recv().unwrap(), Event::Lagged);
        assert!(events.try_recv().is_err());
        watchers.notify("a/k", &Event::Delete("next".into()));
        assert_eq!(events.try_recv().unwrap(), Event::Delete("next".into()));
    }

    #[test]
    fn watchers_that_are_gone_are_forgotten() {
        let mut watchers = Watchers::default();
        drop(watchers.add("a/"));
        watchers.notify("b/k", &Event::Lagged);
        assert!(watchers.0.is_empty());
    }
}
