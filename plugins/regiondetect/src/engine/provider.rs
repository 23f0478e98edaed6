//! Execution providers: where ONNX Runtime computes.

use std::fmt;
use std::str::FromStr;

use ort::ep::{self, ExecutionProvider, ExecutionProviderDispatch};

/// An execution provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Provider {
    /// The processor.
    #[default]
    Cpu,
    /// NVIDIA.
    Cuda,
    /// NVIDIA, compiled for the card.
    TensorRt,
    /// Intel processors, graphics and NPUs.
    OpenVino,
    /// AMD.
    MiGraphX,
    /// AMD, older.
    Rocm,
    /// Processors, mobile kernels.
    Xnnpack,
    /// Qualcomm.
    Qnn,
    /// Arm processors.
    Acl,
    /// Rockchip.
    Rknpu,
}

impl Provider {
    /// All that can be asked for.
    pub const ALL: [Self; 10] = [
        Self::Cpu,
        Self::Cuda,
        Self::TensorRt,
        Self::OpenVino,
        Self::MiGraphX,
        Self::Rocm,
        Self::Xnnpack,
        Self::Qnn,
        Self::Acl,
        Self::Rknpu,
    ];

    /// It is the processor.
    pub fn is_cpu(self) -> bool {
        self == Self::Cpu
    }

    /// The loaded library has it. Whether the device is there shows when it is used.
    pub(super) fn is_available(self) -> bool {
        match self {
            Self::Cpu => Ok(true),
            Self::Cuda => ep::CUDA::is_available(),
            Self::TensorRt => ep::TensorRT::is_available(),
            Self::OpenVino => ep::OpenVINO::is_available(),
            Self::MiGraphX => ep::MIGraphX::is_available(),
            Self::Rocm => ep::ROCm::is_available(),
            Self::Xnnpack => ep::XNNPACK::is_available(),
            Self::Qnn => ep::QNN::is_available(),
            Self::Acl => ep::ACL::is_available(),
            Self::Rknpu => ep::RKNPU::is_available(),
        }
        .unwrap_or(false)
    }

    /// Names of those the loaded library has.
    pub(super) fn available() -> Vec<String> {
        let there = Self::ALL.into_iter().filter(|p| p.is_available());
        there.map(|p| p.to_string()).collect()
    }

    /// How a session asks for it; `None` for the processor, which is always there.
    pub(super) fn dispatch(self) -> Option<ExecutionProviderDispatch> {
        let dispatch = match self {
            Self::Cpu => return None,
            Self::Cuda => ep::CUDA::default().build(),
            Self::TensorRt => ep::TensorRT::default().build(),
            Self::OpenVino => ep::OpenVINO::default().build(),
            Self::MiGraphX => ep::MIGraphX::default().build(),
            Self::Rocm => ep::ROCm::default().build(),
            Self::Xnnpack => ep::XNNPACK::default().build(),
            Self::Qnn => ep::QNN::default().build(),
            Self::Acl => ep::ACL::default().build(),
            Self::Rknpu => ep::RKNPU::default().build(),
        };
        Some(dispatch.error_on_failure())
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
            Self::OpenVino => "openvino",
            Self::MiGraphX => "migraphx",
            Self::Rocm => "rocm",
            Self::Xnnpack => "xnnpack",
            Self::Qnn => "qnn",
            Self::Acl => "acl",
            Self::Rknpu => "rknpu",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Provider {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let asked = text.trim().to_ascii_lowercase();
        let found = Self::ALL.into_iter().find(|p| p.name() == asked);
        found.ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|p| p.name()).collect();
            format!(
                "provider {text:?} is not known; known are {}",
                known.join(", ")
            )
        })
    }
}
