// What parameters promise holds in a double build too, where open() copies instead of mapping.
#include "tests/parameters_test.cpp"
static_assert(std::is_same_v<bib::real, double>);
