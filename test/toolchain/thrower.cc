#include <stdexcept>
#include <string>

extern "C" int thrower(int value)
{
    throw std::out_of_range("thrown " + std::to_string(value));
}
