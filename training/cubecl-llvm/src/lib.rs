//! What `cubecl-cuda` names of its LLVM compiler, without LLVM.
//!
//! `cubecl-cuda` compiles kernels either by NVRTC, which the CUDA driver's machine has, or by LLVM, whose build
//! script downloads a bundle of it. Kinora selects NVRTC (`cubecl`'s feature `cuda-cpp`), so nothing here ever
//! runs; it only has to be there. Should it be asked for all the same, it answers with an error.

use core::ffi::c_char;

use cubecl_core::ir::attributes::BufferIOAttr;
use cubecl_core::ir::nvidia::SmArch;
use cubecl_core::prelude::KernelDefinition;
use cubecl_server::compiler::CompilationError;

/// What would be compiled for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LlvmTarget {
    #[default]
    Nvptx,
}

/// A compiler that compiles nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlironCompiler {
    pub target: LlvmTarget,
}

/// What a kernel would be compiled with.
#[derive(Clone, Debug, Default)]
pub struct PlironOptions {
    pub arch: Option<()>,
    pub sm_arch: Option<SmArch>,
    pub ptx_version: Option<nvptx::ptx_version::PtxVersion>,
    pub grid_constants: bool,
    pub cpu_buffer_alignment: Option<u32>,
}

/// A compiled kernel, of which there is none.
#[derive(Clone, Debug)]
pub struct NvptxModule {
    pub ptx: Vec<c_char>,
    pub entrypoint: String,
    pub ir: String,
    pub shared_memory_size: usize,
    pub io: Vec<BufferIOAttr>,
}

/// What the compiler would give.
#[derive(Clone, Debug)]
pub enum PlironArtifact {
    NvptxCode(NvptxModule),
    Jit,
}

impl PlironCompiler {
    /// An error, always.
    pub fn compile(
        &mut self,
        _kernel: KernelDefinition,
        _options: &PlironOptions,
    ) -> Result<PlironArtifact, CompilationError> {
        let reason = "this build has no LLVM: kernels are compiled by NVRTC".to_owned();
        Err(CompilationError::Generic { reason, backtrace: Default::default() })
    }

    pub fn lang_tag(&self) -> &'static str {
        "llvm"
    }
}

pub mod nvptx {
    pub mod ptx_version {
        use core::fmt;

        /// A version of PTX.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct PtxVersion(u32);

        impl PtxVersion {
            /// The newest that a driver loads; unknown here.
            pub fn for_driver(_version: i32) -> Option<Self> {
                None
            }
        }

        impl fmt::Display for PtxVersion {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "ptx{}", self.0)
            }
        }
    }
}

pub mod shared {
    pub mod lowered_features {
        use cubecl_core::ir::DeviceProperties;

        /// Whose features would be restricted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum GpuTarget {
            Nvptx,
        }

        /// Nothing is lowered, so nothing is taken away.
        pub fn restrict_features(_properties: &mut DeviceProperties, _target: GpuTarget) {}
    }
}
