//! The same model, looking everywhere.

use std::path::Path;
use std::time::Duration;

use detection::{BBox, FrameSize, PixelBox};
use gstregiondetect::engine::{Client, Engine, EngineOptions, Provider};
use regiondetect_core::reduce::{Candidate, Overlap, Reducer};
use regiondetect_core::regions::Placement;
use regiondetect_core::tensor::Cropper;

use super::SURE;
use super::footage::Frame;

/// Side of a tile in frame pixels, and how far the next one is.
const TILE: i32 = 416;
const STEP: i32 = 333;

pub struct Reference {
    client: Client,
    cropper: Cropper,
    reducer: Reducer,
    person: u16,
}

impl Reference {
    pub fn open(model: &Path) -> Result<Self, String> {
        let engine = Engine::open(&EngineOptions {
            model: model.to_owned(),
            onnxruntime: None,
            model_type: Vec::new(),
            side: None,
            provider: Provider::default(),
            sessions: 0,
            threads: 0,
        })
        .map_err(|error| error.to_string())?;
        let person = engine
            .model()
            .labels
            .id("person")
            .ok_or("the model knows no person")?;
        Ok(Self {
            client: engine.client(Duration::from_secs(60)),
            cropper: Cropper::default(),
            reducer: Reducer::with_min_score(SURE - 1e-6),
            person,
        })
    }

    /// People in the whole frame as one input, in fractions of the frame.
    pub fn whole_frame(&mut self, frame: &Frame) -> Result<Vec<BBox>, String> {
        let side = frame.width.max(frame.height) as i32;
        self.look(frame, &[PixelBox::new(0, 0, side, side)])
    }

    /// People in overlapping tiles, in fractions of the frame.
    pub fn tiles(&mut self, frame: &Frame) -> Result<Vec<BBox>, String> {
        self.look(frame, &tiles(frame))
    }

    pub fn tile_count(&self, frame: &Frame) -> usize {
        tiles(frame).len()
    }

    fn look(&mut self, frame: &Frame, squares: &[PixelBox]) -> Result<Vec<BBox>, String> {
        let picture = frame.picture()?;
        let engine = std::sync::Arc::clone(self.client.engine());
        let spec = &engine.model().input.tensor;
        let dest = PixelBox::new(0, 0, spec.width as i32, spec.height as i32);
        let placements: Vec<Placement> = squares
            .iter()
            .map(|source| Placement {
                source: *source,
                dest,
            })
            .collect();
        let mut candidates = Vec::new();
        let mut boxes = Vec::new();
        let (width, height) = (frame.width as f32, frame.height as f32);
        self.client
            .run(
                squares.len(),
                SURE,
                |i, tensor, shown| {
                    self.cropper
                        .refill(&picture, &placements[i..=i], spec, tensor, shown)
                },
                |i, found| {
                    for d in found.iter().filter(|d| d.label == self.person) {
                        let b = placements[i].to_frame(&d.bbox).clamped(width, height);
                        if b.is_valid() {
                            let pixels =
                                PixelBox::new(b.x1 as i32, b.y1 as i32, b.x2 as i32, b.y2 as i32);
                            candidates.push(Candidate::new(
                                d.label,
                                d.score,
                                pixels,
                                placements[i].source,
                            ));
                            boxes.push(b);
                        }
                    }
                },
            )
            .map_err(|error| error.to_string())?;
        let mut kept = Vec::new();
        let size = FrameSize::new(frame.width as u32, frame.height as u32);
        self.reducer
            .reduce(size, &candidates, |_| Overlap::of("person"), &mut kept);
        Ok(kept
            .into_iter()
            .map(|i| boxes[i].scaled(1.0 / width, 1.0 / height))
            .collect())
    }
}

fn tiles(frame: &Frame) -> Vec<PixelBox> {
    let starts = |dim: usize| {
        let last = (dim as i32 - TILE).max(0);
        let count = (last + STEP - 1) / STEP + 1;
        (0..count)
            .map(move |i| (i * STEP).min(last))
            .collect::<Vec<_>>()
    };
    let mut tiles = Vec::new();
    for y in starts(frame.height) {
        for x in starts(frame.width) {
            tiles.push(PixelBox::new(x, y, x + TILE, y + TILE));
        }
    }
    tiles
}
