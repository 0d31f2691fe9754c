// Every sample file, one per op family.
#pragma once
#include "tests/samples/linear.h"
#if __has_include("tests/samples/adam.h")
#include "tests/samples/adam.h"
#endif
#if __has_include("tests/samples/conv1d.h")
#include "tests/samples/conv1d.h"
#endif
#if __has_include("tests/samples/conv_pool.h")
#include "tests/samples/conv_pool.h"
#endif
#if __has_include("tests/samples/crf.h")
#include "tests/samples/crf.h"
#endif
#if __has_include("tests/samples/dropout.h")
#include "tests/samples/dropout.h"
#endif
#if __has_include("tests/samples/ema.h")
#include "tests/samples/ema.h"
#endif
#if __has_include("tests/samples/embedding.h")
#include "tests/samples/embedding.h"
#endif
#if __has_include("tests/samples/loss.h")
#include "tests/samples/loss.h"
#endif
#if __has_include("tests/samples/lstm.h")
#include "tests/samples/lstm.h"
#endif
#if __has_include("tests/samples/max_pool.h")
#include "tests/samples/max_pool.h"
#endif
#if __has_include("tests/samples/norm.h")
#include "tests/samples/norm.h"
#endif
#if __has_include("tests/samples/sgd.h")
#include "tests/samples/sgd.h"
#endif
