use super::error::ExecError;

/// The update of the parameters at the end of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    /// The learning rate, which scales the steps of the optimizers.
    pub learning_rate: f64,
    /// The maximum Euclidean norm of the gradient of all parameters together. A gradient with a larger norm
    /// is scaled down to it, as PyTorch's `clip_grad_norm_` does.
    pub clip_norm: Option<f64>,
    /// The decay `d`, from 0 to 1, of an exponential moving average of all parameters and running statistics,
    /// `a ← d a + (1 - d) θ`. The average starts at the end of the first step that requests it.
    /// [`Executor::infer`](super::Executor::infer) uses the average.
    pub average_decay: Option<f64>,
}

impl Update {
    /// Creates an update with this learning rate, without clipping or a moving average.
    #[must_use]
    pub fn plain(learning_rate: f64) -> Self {
        Self { learning_rate, clip_norm: None, average_decay: None }
    }

    /// Checks that all numbers are valid.
    ///
    /// # Errors
    /// [`ExecError::Update`] with the first invalid number.
    pub fn check(&self) -> Result<(), ExecError> {
        let refuse = |what, value, expected| Err(ExecError::Update { what, value, expected });
        let rate = self.learning_rate;
        if !rate.is_finite() || rate < 0.0 {
            return refuse("learning rate", rate, "a finite number of at least 0");
        }
        match (self.clip_norm, self.average_decay) {
            (Some(norm), _) if norm.is_nan() || norm <= 0.0 => {
                refuse("gradient clipping norm", norm, "a positive number")
            }
            (_, Some(decay)) if !(0.0..=1.0).contains(&decay) => {
                refuse("decay of the moving average", decay, "a number in [0, 1]")
            }
            _ => Ok(()),
        }
    }
}
