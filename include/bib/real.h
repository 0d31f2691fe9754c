// The scalar type of every tensor. Its own header, because code compiled per instruction set may include nothing else.
#pragma once

namespace bib {

#ifdef BIB_REAL
using real = BIB_REAL;  // double in the gradient-check build
#else
using real = float;
#endif

}  // namespace bib
