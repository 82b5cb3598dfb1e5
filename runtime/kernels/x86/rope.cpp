#include "runtime/kernels/x86/spec.h"
