//! What Kang et al. report, for the column beside ours: a task's name goes in, their velocity errors come out.
//!
//! Sources: "How Far is Video Generation from World Model: A Physical Law Perspective" (arXiv 2411.02385),
//! its table of parsed ground truth and VAE reconstruction; and the numbers behind its figure 3, which the
//! authors posted in github.com/phyworld/phyworld issue 7. World units a second.
//!
//! Each figure includes the error of the authors' own measurement, their parsed truth; ours is some twenty
//! times smaller. So a model of ours near 0.01 is not thereby better than one of theirs; figures well above
//! their parsed truth compare. In the generator that they released, the parabola's gravity is
//! [`RELEASED_GRAVITY`](super::RELEASED_GRAVITY).

use serde::Serialize;

use super::task::Task;

/// What the authors measured on one task.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Published {
    pub task: Task,
    /// Their measurement of the true videos.
    pub parsed_truth: f64,
    /// The same out of distribution, where they give it.
    pub parsed_truth_out: Option<f64>,
    /// Their measurement of the true videos through their autoencoder.
    pub autoencoder: f64,
    /// Their diffusion transformers.
    pub models: &'static [PublishedModel],
    /// Errors out of distribution between these were read off figure 3, where no numbers were posted.
    pub out_of_distribution_read_off: Option<[f64; 2]>,
}

/// One trained model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PublishedModel {
    /// Size and number of training videos.
    pub name: &'static str,
    pub in_distribution: f64,
    pub out_of_distribution: f64,
}

const fn model(name: &'static str, in_distribution: f64, out_of_distribution: f64) -> PublishedModel {
    PublishedModel { name, in_distribution, out_of_distribution }
}

/// The authors' figures, in the order of [`Task::ALL`].
pub const PUBLISHED: [Published; 3] = [
    Published {
        task: Task::UniformMotion,
        parsed_truth: 0.0099,
        parsed_truth_out: Some(0.0114),
        autoencoder: 0.0105,
        models: &[
            model("DiT-S 30K", 0.0221, 0.4349),
            model("DiT-S 300K", 0.0184, 0.2929),
            model("DiT-S 3M", 0.0149, 0.2875),
            model("DiT-B 30K", 0.0166, 0.4330),
            model("DiT-B 300K", 0.0148, 0.3281),
            model("DiT-B 3M", 0.0138, 0.3583),
            model("DiT-L 30K", 0.0150, 0.3783),
            model("DiT-L 300K", 0.0140, 0.3847),
            model("DiT-L 3M", 0.0124, 0.4270),
        ],
        out_of_distribution_read_off: None,
    },
    Published {
        task: Task::Collision,
        parsed_truth: 0.0117,
        parsed_truth_out: Some(0.0078),
        autoencoder: 0.0131,
        models: &[
            model("DiT-S 30K", 0.0267, 0.1873),
            model("DiT-S 300K", 0.0241, 0.2000),
            model("DiT-S 3M", 0.0227, 0.1525),
            model("DiT-B 30K", 0.0302, 0.2411),
            model("DiT-B 300K", 0.0193, 0.1663),
            model("DiT-B 3M", 0.0181, 0.2106),
            model("DiT-L 30K", 0.0240, 0.2700),
            model("DiT-L 300K", 0.0158, 0.1725),
            model("DiT-L 3M", 0.0153, 0.1613),
        ],
        out_of_distribution_read_off: None,
    },
    Published {
        task: Task::Parabola,
        parsed_truth: 0.0210,
        parsed_truth_out: None,
        autoencoder: 0.0212,
        models: &[],
        out_of_distribution_read_off: Some([0.3, 0.4]),
    },
];
