//! Words that end a grant or a mark without a settle: releases, undoes and decisions.

use orderlock_core::StoreError;
use orderlock_core::store::{MarkFate, Release, Released, Resolve, Resolved, Undo};

use super::book::{Book, Broken};
use super::marks::Doubt;

impl Book {
    pub(super) fn releases(&mut self, request: &Release, now: u64) {
        let key = self.asked.get_mut(&request.fence).map(|asked| {
            asked.given_up.get_or_insert(now);
            asked.gives_up += 1;
            asked.key
        });
        if let (Some(key), MarkFate::Clear) = (key, request.mark) {
            self.marks.may_end(key, Doubt::Grant(request.fence), now);
        }
        if let Some(next) = &request.next {
            self.asks(next, now);
        }
    }

    pub(super) fn released(
        &mut self,
        request: &Release,
        told: &Result<Released, StoreError>,
        now: u64,
    ) -> Broken {
        let asked = self.asked.get(&request.fence).cloned();
        let Some(asked) = asked else {
            return Vec::new();
        };
        let clears = request.mark == MarkFate::Clear;
        let doubt = Doubt::Grant(request.fence);
        match told {
            Ok(released) => {
                let mut broken = Broken::new();
                if released.held {
                    broken.extend(self.held(request.fence, asked.given_up));
                }
                if clears && released.held {
                    self.marks.ended(asked.key);
                }
                if clears && !released.held && asked.gives_up == 1 {
                    self.marks.did_not_end(asked.key, doubt, now);
                }
                if let (Some(next), Some(told)) = (&request.next, &released.next) {
                    broken.extend(self.acquired(next, told, now));
                }
                broken
            }
            Err(StoreError::NotApplied(_)) if clears && asked.gives_up == 1 => {
                self.marks.did_not_end(asked.key, doubt, now);
                Vec::new()
            }
            Err(_) => Vec::new(),
        }
    }

    /// A grant is taken back under which no handler has run. A mark that stood before it stays.
    pub(super) fn undoes(&mut self, request: &Undo, now: u64) {
        let Some(asked) = self.asked.get_mut(&request.fence) else {
            return;
        };
        asked.given_up.get_or_insert(now);
        asked.gives_up += 1;
        let (key, sent, first) = (asked.key, asked.sent, asked.gives_up == 1);
        if self.marks.certain(key, sent).is_none() {
            self.marks.may_end(key, Doubt::Grant(request.fence), now);
        } else if first {
            self.marks.taken_back(key);
        }
        if let Some(next) = &request.next {
            self.asks(next, now);
        }
    }

    pub(super) fn undone(
        &mut self,
        request: &Undo,
        told: &Result<Released, StoreError>,
        now: u64,
    ) -> Broken {
        let Some(asked) = self.asked.get(&request.fence).cloned() else {
            return Vec::new();
        };
        let doubt = Doubt::Grant(request.fence);
        let released = match told {
            Ok(released) => released,
            Err(StoreError::NotApplied(_)) if asked.gives_up == 1 => {
                self.marks.did_not_end(asked.key, doubt, now);
                return Vec::new();
            }
            Err(_) => return Vec::new(),
        };
        let mut broken = Broken::new();
        if released.held {
            broken.extend(self.held(request.fence, asked.given_up));
            // What was its own mark is gone; one that stood before it was never in doubt.
            self.marks.ended_if_doubted(asked.key, doubt);
        } else if asked.gives_up == 1 {
            self.marks.did_not_end(asked.key, doubt, now);
        }
        if let (Some(next), Some(told)) = (&request.next, &released.next) {
            broken.extend(self.acquired(next, told, now));
        }
        broken
    }

    pub(super) fn resolves(&mut self, request: &Resolve, now: u64) {
        let doubt = Doubt::Decision(now);
        self.marks.may_end(request.key_id, doubt, now);
    }

    pub(super) fn resolved(
        &mut self,
        request: &Resolve,
        told: &Result<Resolved, StoreError>,
        (sent, now): (u64, u64),
    ) {
        match told {
            Ok(Resolved::Resolved(_)) => self.marks.ended(request.key_id),
            Ok(_) | Err(StoreError::NotApplied(_)) => {
                let doubt = Doubt::Decision(sent);
                self.marks.did_not_end(request.key_id, doubt, now);
            }
            Err(_) => {}
        }
    }
}
