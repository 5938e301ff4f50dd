#include <cstdio>
int main() { std::puts("vramplan"); }
