//! Rate limit for one kind of answer.

/// A token bucket; time is an argument, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    tokens: u32,
    most: u32,
    each_second: u32,
    filled: u64,
}

impl Budget {
    /// Starts full.
    pub const fn new(most: u32, each_second: u32) -> Self {
        Budget { tokens: most, most, each_second, filled: 0 }
    }

    /// Takes a token; false if none is left.
    pub fn take(&mut self, now: u64) -> bool {
        // The clock may be set back.
        let passed = u32::try_from(now.saturating_sub(self.filled)).unwrap_or(u32::MAX);
        self.filled = now;
        self.tokens = self.tokens.saturating_add(passed.saturating_mul(self.each_second)).min(self.most);
        let some = self.tokens > 0;
        self.tokens -= u32::from(some);
        some
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_a_rate_per_second() {
        let mut budget = Budget::new(4, 2);
        let many = |budget: &mut Budget, now| (0..10).filter(|_| budget.take(now)).count();
        assert_eq!((many(&mut budget, 100), many(&mut budget, 100), many(&mut budget, 101)), (4, 0, 2));
        assert_eq!(
            (many(&mut budget, 1_000), many(&mut budget, 5), many(&mut budget, 6)),
            (4, 0, 2),
            "also after the clock was set back"
        );
    }
}
